import argparse, json

DEFAULT_LR = 1e-3
DATA_DIR = "data"
BATCH = 2 ** 5

p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=DEFAULT_LR)
p.add_argument("--data-dir", default=DATA_DIR + "/train")
p.add_argument("--batch", type=int, default=BATCH * 2)
p.add_argument("--opt", choices=("sgd", "adam", "rmsprop"), default="adam")
p.add_argument("--name", default="run: 1 # first")
p.add_argument("--min-delta", type=float, default=-0.5)
a = p.parse_args()
json.dump(vars(a), open("received.json", "w"))
