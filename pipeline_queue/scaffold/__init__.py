"""Writes a first pipeline file from a script: its source is read with `ast`, never imported and never executed."""
