import json
import sys

lr = float(sys.argv[1])
epochs = int(sys.argv[2])
name = sys.argv[3]

json.dump({"lr": lr, "epochs": epochs, "name": name}, open("received.json", "w"))
