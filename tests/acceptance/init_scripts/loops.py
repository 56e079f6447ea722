import argparse
import json

HYPER = [
    ("alpha", 0.1, "first"),
    ("beta", 0.2, "second"),
    ("gamma", 3, "third"),
]


def add_numbers(parser, names, default=1):
    for name in names:
        parser.add_argument("--" + name, type=int, default=default)


def main(argv=None):
    parser = argparse.ArgumentParser()
    for name, default, text in HYPER:
        parser.add_argument(f"--{name}", type=float, default=default, help=f"the {text} one")
    add_numbers(parser, ["depth", "width"], default=7)
    common = dict(type=str, default="none")
    parser.add_argument("--tag", **common)
    args = parser.parse_args(argv)
    json.dump(vars(args), open("received.json", "w"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
