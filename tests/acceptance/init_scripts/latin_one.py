# -*- coding: latin-1 -*-
import argparse
import json

p = argparse.ArgumentParser()
p.add_argument("--name", default="Müller", help="der Name, übersetzt")
json.dump(vars(p.parse_args()), open("received.json", "w"))
