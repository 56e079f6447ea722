"""A pipeline file's `sweep:` and what a caller asks for -> a space, with every problem at its place."""

from pipeline_queue.loading.sweep.building import BuiltSpace, build_space, check_sweep
from pipeline_queue.loading.sweep.request import SweepRequest
from pipeline_queue.loading.sweep.settings import MAX_RUNS

__all__ = ["MAX_RUNS", "BuiltSpace", "SweepRequest", "build_space", "check_sweep"]
