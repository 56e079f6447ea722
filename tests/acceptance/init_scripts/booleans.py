import argparse
import json


def str2bool(v):
    if isinstance(v, bool):
        return v
    if v.lower() in ("yes", "true", "t", "y", "1"):
        return True
    elif v.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError("Boolean value expected.")


parser = argparse.ArgumentParser()
parser.add_argument("--nice", type=str2bool, nargs="?", const=True, default=False, help="Activate nice mode.")
parser.add_argument("--track", type=lambda x: str(x).lower() == "true", default=True)
parser.add_argument("--buggy", type=bool, default=True)
parser.add_argument("--fast", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--use-amp", action="store_true", default=False)
parser.add_argument("--no-shuffle", dest="shuffle", action="store_false", help="do not shuffle")
args = parser.parse_args()

if __name__ == "__main__":
    json.dump(vars(args), open("received.json", "w"))
