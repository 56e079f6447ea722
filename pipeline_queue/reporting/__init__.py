"""Reads runs and sweeps, and never changes them: states, results, traces, explanations."""
