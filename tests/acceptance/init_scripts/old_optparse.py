#!/usr/bin/python
import json
from optparse import OptionParser

parser = OptionParser(usage="usage: %prog [options]")
parser.add_option("-r", "--rate", dest="rate", type="float", default=0.5, help="rate [default: %default]")
parser.add_option("-m", dest="mode", type="choice", choices=["a", "b"], default="a")
parser.add_option("-q", "--quiet", action="store_false", dest="verbose", default=True)
(options, args) = parser.parse_args()
json.dump(options.__dict__, open("received.json", "w"))
