"""Texts that break what splices, parses twice or guesses: for every parametrize list of values."""

HOSTILE = [
    " ",
    "'",
    '"',
    "$HOME",
    "; rm x",
    "a\nb",
    "\\",
    "a=b",
    "0",
    "0.0",
    "false",
    "",
    "-x",
    "${{ x }}",
    "é😀",
    "\t",
]
