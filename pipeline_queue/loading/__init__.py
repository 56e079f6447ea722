"""YAML text -> Pipeline, with every problem at its line and column."""
