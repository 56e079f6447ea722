import argparse
import json
import os
import sys

common = argparse.ArgumentParser(add_help=False)
common.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO"])
common.add_argument("--workdir", default=os.path.join("work", "dir"))

parser = argparse.ArgumentParser(parents=[common])
parser.add_argument("--temperature", "-T", type=float, default=1.0)
parser.add_argument("--cache", default=os.environ.get("XDG_CACHE_HOME", "~/.cache"))
parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
if sys.platform == "darwin":
    parser.add_argument("--mps", type=int, default=0)
parser.add_argument("--version", action="version", version="1.0")


def run(args):
    data = vars(args)
    data.pop("cache")
    data.pop("mps", None)
    json.dump(data, open("received.json", "w"))


if __name__ == "__main__":
    run(parser.parse_args())
