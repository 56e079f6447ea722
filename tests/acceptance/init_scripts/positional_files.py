"""usage: positional_files.py SOURCE TARGET COUNT"""
import argparse
import json
from pathlib import Path


def positive(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be positive")
    return value


def parse():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("source", type=Path, help="where to read")
    ap.add_argument("target", type=Path)
    ap.add_argument("count", type=positive)
    ap.add_argument("-n", type=int, default=5)
    ap.add_argument("-o", "--out", type=argparse.FileType("w"), default="out.txt")
    ap.add_argument("--root", type=Path, default=Path("data") / "raw")
    return ap.parse_args()


if __name__ == "__main__":
    args = parse()
    data = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k != "out"}
    json.dump(data, open("received.json", "w"))
