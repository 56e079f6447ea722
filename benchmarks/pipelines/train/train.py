"""A step as small as real ones get: parses its arguments, fits a line by gradient descent, writes its numbers."""

import argparse
import json

POINTS = [(x / 50, 3.0 * x / 50 + 1.0) for x in range(50)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    slope, intercept = 0.0, 0.0
    for _ in range(200):
        errors = [(slope * x + intercept - y, x) for x, y in POINTS]
        slope -= options.lr * sum(error * x for error, x in errors) / len(POINTS)
        intercept -= options.lr * sum(error for error, _ in errors) / len(POINTS)
    loss = sum((slope * x + intercept - y) ** 2 for x, y in POINTS) / len(POINTS)
    with open(options.out, "w") as file:  # noqa: PTH123 - what a user would write
        json.dump({"learning_rate": options.lr, "loss": loss}, file)
    print(f"loss {loss:.6f}")


main()
