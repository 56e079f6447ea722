"""Tests send signals to what they start, whatever the process of the tests itself was started to ignore."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

IN_CHILD = "import os, signal; os.kill(os.getpid(), signal.{0})"
IN_TESTS = """\
import os, signal, subprocess, sys
signal.signal(signal.{0}, signal.SIG_IGN)
import tests.conftest
os.kill(os.getpid(), signal.{0})
sys.exit(-subprocess.run([sys.executable, "-c", {1!r}], stderr=subprocess.DEVNULL).returncode)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"])
def test_a_signal_that_the_tests_ignore_still_reaches_what_they_start(name: str) -> None:
    code = IN_TESTS.format(name, IN_CHILD.format(name))
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == getattr(signal, name), done
