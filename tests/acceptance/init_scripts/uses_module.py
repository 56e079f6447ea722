import json

from cli_args import get_args


class Trainer:
    def __init__(self, args):
        self.args = args

    def fit(self):
        json.dump(vars(self.args), open("received.json", "w"))


if __name__ == "__main__":
    Trainer(get_args()).fit()
