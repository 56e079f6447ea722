import argparse
import json

parser = argparse.ArgumentParser()
parser.add_argument("--layers", nargs="+", type=int, default=[64, 32])
parser.add_argument("--betas", nargs=2, type=float, default=(0.9, 0.999))
parser.add_argument("--tags", nargs="*")
parser.add_argument("--rate", type=float, default=0.1)
parser.add_argument("files", nargs="+")

if __name__ == "__main__":
    json.dump(vars(parser.parse_args()), open("received.json", "w"))
