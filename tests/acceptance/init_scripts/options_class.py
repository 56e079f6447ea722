"""In the style of CycleGAN's options."""
import argparse
import json


class BaseOptions:
    def __init__(self):
        self.initialized = False

    def initialize(self, parser):
        parser.add_argument("--dataroot", required=True, help="path to images")
        parser.add_argument("--name", type=str, default="experiment_name", help="name of the experiment")
        parser.add_argument("--input_nc", type=int, default=3, help="# of input image channels: 3 for RGB")
        self.initialized = True
        return parser

    def gather_options(self):
        if not self.initialized:
            parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
            parser = self.initialize(parser)
        opt, _ = parser.parse_known_args()
        self.parser = parser
        return parser.parse_args()

    def parse(self):
        opt = self.gather_options()
        opt.isTrain = self.isTrain
        self.opt = opt
        return self.opt


class TrainOptions(BaseOptions):
    def initialize(self, parser):
        parser = BaseOptions.initialize(self, parser)
        parser.add_argument("--n_epochs", type=int, default=100, help="number of epochs")
        parser.add_argument("--beta1", type=float, default=0.5, help="momentum term of adam")
        self.isTrain = True
        return parser


if __name__ == "__main__":
    opt = TrainOptions().parse()
    json.dump(vars(opt), open("received.json", "w"))
