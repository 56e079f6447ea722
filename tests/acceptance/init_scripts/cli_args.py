"""What `uses_module.py` imports."""
import argparse

RATE = 0.25


def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--mode", default="fast")
    return parser.parse_args()
