"""A small step with scikit-learn: a ridge regression on points that it makes."""

import argparse
import json

import numpy as np
from sklearn.linear_model import Ridge

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--out", required=True)
options = parser.parse_args()
x = np.linspace(0, 1, 200)
points = np.column_stack([x, x**2, np.sin(10 * x + options.seed)])
model = Ridge(alpha=0.1).fit(points, 3 * x + 1)
with open(options.out, "w") as file:  # noqa: PTH123 - what a user would write
    json.dump({"r2": model.score(points, 3 * x + 1)}, file)
