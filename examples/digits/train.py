"""Trains a support vector machine on the prepared digits; writes the model and its accuracy on unseen images."""

import argparse
import json
import pickle
import time

import numpy
from sklearn.svm import SVC

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--C", type=float, required=True)
parser.add_argument("--gamma", type=float, required=True)
options = parser.parse_args()

data = numpy.load("digits.npz")
began = time.perf_counter()
model = SVC(C=options.C, gamma=options.gamma).fit(data["x_train"], data["y_train"])
metrics = {
    "accuracy": float(model.score(data["x_test"], data["y_test"])),
    "support_vectors": int(model.n_support_.sum()),
    "fit_seconds": round(time.perf_counter() - began, 4),
}
print(metrics)
with open("model.pickle", "wb") as file:
    pickle.dump(model, file)
with open("metrics.json", "w") as file:
    json.dump(metrics, file)
