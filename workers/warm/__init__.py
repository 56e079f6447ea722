"""Processes that have imported a step's modules already and are forked for it; the standard library only.

A warm process keeps nothing of this package where a step could see it: not in `sys.modules`, not in `sys.path`.
"""
