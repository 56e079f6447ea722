import json
import sys


def simulate(temperature, steps, out):
    json.dump({"temperature": temperature, "steps": steps, "out": out}, open("received.json", "w"))


if __name__ == "__main__":
    if len(sys.argv) > 4:
        print("usage: argv_defaults.py [TEMPERATURE [STEPS [OUT]]]")
        sys.exit(1)
    temperature = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    steps = 1000
    if len(sys.argv) > 2:
        steps = int(sys.argv[2])
    if len(sys.argv) > 3:
        out = sys.argv[3]
    else:
        out = "result.txt"
    simulate(temperature, steps, out)
