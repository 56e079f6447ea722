#!/usr/bin/env python
import argparse
import json


def train(args):
    print("training")


def evaluate(args):
    print("evaluating")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--verbose", "-v", action="count", default=0)
    parser.add_argument("--config", default="base")
    sub = parser.add_subparsers(dest="command", required=True)
    t = sub.add_parser("train", help="train a model")
    t.add_argument("--lr", type=float, default=0.01)
    t.add_argument("dataset")
    t.set_defaults(func=train)
    e = sub.add_parser("evaluate", help="evaluate it")
    e.add_argument("--split", choices=["dev", "test"], default="dev")
    e.set_defaults(func=evaluate)
    args = parser.parse_args()
    args.func(args)
    data = {key: value for key, value in vars(args).items() if key != "func"}
    json.dump(data, open("received.json", "w"))


if __name__ == "__main__":
    main()
