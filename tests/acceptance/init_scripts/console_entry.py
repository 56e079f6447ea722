"""Installed as a command elsewhere; here it is started by hand."""
import argparse
import json


def build_parser(parser=None):
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("query")
    return parser


def entry():
    args = build_parser().parse_args()
    json.dump(vars(args), open("received.json", "w"))


globals()["entry"]()
