"""Trains a logistic regression by gradient descent on two noisy clouds of points that it makes itself.

Writes model.json (the weights) and metrics.json (loss and accuracy on points it did not train on).
"""

import argparse
import json
import math
import random

EPOCHS = 20
POINTS = 400
SEED = 7


def make_points(count: int, chance: random.Random) -> list[tuple[float, float, int]]:
    """Points (x, y, label): label 1 lies around (1, 1), label 0 around (-1, -1), and they overlap."""
    labels = [chance.randrange(2) for _ in range(count)]
    return [(chance.gauss(2 * label - 1, 1.2), chance.gauss(2 * label - 1, 1.2), label) for label in labels]


def probability(weights: list[float], x: float, y: float) -> float:
    z = weights[0] + weights[1] * x + weights[2] * y
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, z))))


def train(points: list[tuple[float, float, int]], learning_rate: float) -> list[float]:
    """The weights (bias, x, y) after full-batch gradient descent from zero."""
    weights = [0.0, 0.0, 0.0]
    for epoch in range(1, EPOCHS + 1):
        gradient = [0.0, 0.0, 0.0]
        for x, y, label in points:
            error = probability(weights, x, y) - label
            for index, value in enumerate((1.0, x, y)):
                gradient[index] += error * value / len(points)
        weights = [weight - learning_rate * slope for weight, slope in zip(weights, gradient, strict=True)]
        print(f"epoch {epoch:2d}  loss {measure(weights, points)['loss']:.4f}")
    return weights


def measure(weights: list[float], points: list[tuple[float, float, int]]) -> dict[str, float]:
    """Mean cross-entropy, and the share of points on the right side."""
    loss, right = 0.0, 0
    for x, y, label in points:
        p = min(max(probability(weights, x, y), 1e-12), 1 - 1e-12)
        loss -= math.log(p if label else 1 - p)
        right += (p > 0.5) == bool(label)
    return {"loss": round(loss / len(points), 6), "accuracy": right / len(points)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, required=True, help="learning rate of the gradient descent")
    options = parser.parse_args()
    chance = random.Random(SEED)
    training, unseen = make_points(POINTS, chance), make_points(POINTS, chance)
    weights = train(training, options.lr)
    metrics = measure(weights, unseen)
    print(f"learning rate {options.lr}: {metrics}")
    with open("model.json", "w") as file:
        json.dump({"learning_rate": options.lr, "weights": weights}, file)
    with open("metrics.json", "w") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
