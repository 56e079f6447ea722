"""The fault lab: real servers, workers and machines, broken on purpose, and a checker that trusts none of them.

`python -m tests.faults --help` runs it; `docs/explanation/fault-lab.md` says what each part is.
"""
