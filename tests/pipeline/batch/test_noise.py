"""What is written to the descriptors, and what Python prints, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from pathlib import Path
from pipeline.batch.noise import noise_to
print("before")
with noise_to(Path(sys.argv[1])):
    os.write(1, b"noise one\\n")
    os.write(2, b"noise two\\n")
    print("said")
    print("warned", file=sys.stderr)
os.write(1, b"after\\n")
"""


def test_noise_goes_to_the_log_and_words_reach_the_person(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", PROGRAM, log], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nsaid\nafter\n"
    assert done.stderr == "warned\n"
    assert log.read_text() == "noise one\nnoise two\n"


def test_closed_descriptors_are_left_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import os; os.close(1); os.close(2)\n{PROGRAM}", tmp_path / "log"]
    closed = subprocess.run(command, capture_output=True, text=True)
    assert not (tmp_path / "log").exists()
    assert closed.stdout == ""
