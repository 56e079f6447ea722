"""The small projects that the hours are spent with; their scripts need nothing but Python."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import write_folder

FLAKY = """\
import argparse, json, os, time
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--depth", type=int, default=2)
parser.add_argument("--healed", default="")
options = parser.parse_args()
print("training with", options)
time.sleep(0.3)
if not os.path.exists(options.healed):
    if options.depth == 3:
        raise RuntimeError(f"CUDA out of memory at 0x{id(options):x}: tried to allocate {options.lr * 7} GiB")
    if options.lr > 0.5:
        open("/data/missing-%s.csv" % options.lr)
with open("metrics.json", "w") as file:
    json.dump({"loss": round(1 / (1 + options.lr * options.depth), 4), "accuracy": round(options.lr, 4)}, file)
"""

FLAKY_YAML = """\
pipeline:
  name: flaky
  parameters:
    - {name: lr, type: float}
    - {name: depth, type: int, default: 2}
    - {name: healed, type: string, default: ""}
  steps:
    - train:
        run: flaky.py
        args:
          - --lr=${{ parameters.lr }}
          - --depth=${{ parameters.depth }}
          - --healed=${{ parameters.healed }}
"""

SHARED_YAML = """\
pipeline:
  name: shared
  parameters:
    - {name: lr, type: float, default: 0.1}
  steps:
    - prepare:
        run: prepare.py
    - train:
        run: work.py
        args: ["--lr=${{ parameters.lr }}"]
    - evaluate:
        run: work.py
        args: ["--lr=${{ parameters.lr }}"]
"""

PREPARE = """\
import time
for part in range(6):
    print("preparing part", part, flush=True)
    time.sleep(0.5)
open("data.txt", "w").write("data")
"""

WORK = """\
import json, sys, time
lr = float(sys.argv[1].partition("=")[2])
time.sleep(0.4)
json.dump({"loss": 1 / (1 + lr)}, open("metrics.json", "w"))
"""

HOSTILE = r"""
import json, sys
print("received", json.dumps(sys.argv[1:]))
print("\x1b[31mred for ever \x1b]0;a new title\x07 \x1b[2J\x1b[H\x07 and away")
print("x" * 5000)
json.dump({"\x1b[2Jloss": 0.5, "a metric with a name that goes on and on and on and on": 1e-300, "ok": 1}, open("metrics.json", "w"))
if sys.argv[1] == "fail":
    raise SystemExit("\x1b[31mbroken \x1b[2J\x1b[H" + "very long " * 60)
"""

HOSTILE_YAML = """\
pipeline:
  name: hostile
  parameters:
    - {name: text, type: string, default: plain}
  steps:
    - show:
        run: show.py
        args: ["${{ parameters.text }}"]
"""

WIDE = """\
import json, sys
json.dump({f"metric_number_{i}": i / 7 for i in range(24)}, open("metrics.json", "w"))
"""

_WIDE_PARAMETERS = "".join(f"    - {{name: parameter_number_{i}, type: float, default: {i}.5}}\n" for i in range(12))
_WIDE_WORDS = ", ".join(f'"${{{{ parameters.parameter_number_{i} }}}}"' for i in range(12))
WIDE_YAML = f"""\
pipeline:
  name: wide
  parameters:
{_WIDE_PARAMETERS}  steps:
    - measure:
        run: wide.py
        args: [{_WIDE_WORDS}]
"""


def write_projects(folder: Path) -> None:
    """A folder for each project below `folder`."""
    write_folder(folder / "flaky", flaky_py=FLAKY, pipeline_yaml=FLAKY_YAML)
    write_folder(folder / "shared", prepare_py=PREPARE, work_py=WORK, pipeline_yaml=SHARED_YAML)
    write_folder(folder / "hostile", show_py=HOSTILE, pipeline_yaml=HOSTILE_YAML)
    write_folder(folder / "wide", wide_py=WIDE, pipeline_yaml=WIDE_YAML)
