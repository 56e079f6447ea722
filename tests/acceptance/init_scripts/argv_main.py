import json
from sys import argv


def main(infile, threshold):
    json.dump({"infile": infile, "threshold": threshold}, open("received.json", "w"))


if __name__ == "__main__":
    main(argv[1], float(argv[2]))
