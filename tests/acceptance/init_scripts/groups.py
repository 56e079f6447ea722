import argparse
import json


def get_parser():
    parser = argparse.ArgumentParser("groups", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    optim = parser.add_argument_group("optimizer", "how to descend")
    optim.add_argument("--lr", type=float, required=True, help="step size, 100%% yours")
    optim.add_argument("--momentum", type=float, default=.9, help="momentum (default: %(default)s)")
    model = parser.add_argument_group(title="model")
    model.add_argument("--width", type=int, choices=range(1, 1025), default=64)
    model.add_argument("--activation", choices=["relu", "gelu"], default="relu")
    run = parser.add_mutually_exclusive_group()
    run.add_argument("--gpu", type=int, help="which GPU")
    run.add_argument("--cpu", action="store_true")
    parser.set_defaults(momentum=0.95, extra="x")
    return parser


if __name__ == "__main__":
    args = get_parser().parse_args()
    json.dump(vars(args), open("received.json", "w"))
