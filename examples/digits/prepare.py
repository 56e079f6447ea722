"""Splits scikit-learn's handwritten digits (1,797 images of 8 x 8, shipped with it) into training and test data."""

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

images, labels = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.5, random_state=7, stratify=labels)
numpy.savez("digits.npz", x_train=x_train, x_test=x_test, y_train=y_train, y_test=y_test)
print(f"{len(y_train)} images to train on, {len(y_test)} to test with")
