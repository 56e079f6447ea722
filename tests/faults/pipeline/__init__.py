"""The pipeline under test, copied from here into a folder of each lab."""
