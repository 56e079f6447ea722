"""A small step with NumPy: fits a line to noisy points by least squares."""

import argparse
import json

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--out", required=True)
options = parser.parse_args()
x = np.linspace(0, 1, 200)
y = 3 * x + 1 + np.sin(1000 * x + options.seed)
slope, intercept = np.linalg.lstsq(np.column_stack([x, np.ones_like(x)]), y, rcond=None)[0]
with open(options.out, "w") as file:  # noqa: PTH123 - what a user would write
    json.dump({"slope": float(slope), "intercept": float(intercept)}, file)
