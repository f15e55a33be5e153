"""Kill `sptx run` at random moments with SIGKILL, run it again, and compare with an undisturbed table byte by byte.

python benchmarks/kill_and_resume.py UNDISTURBED --kills 3 --output OUT [the flags of the undisturbed run]

Exits with 1 when any byte differs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

SPTX = [sys.executable, "-c", "from pipeline.cli import main; main()", "run"]


def parts(root: Path) -> list[Path]:
    """Committed parts."""
    return [path for path in root.glob("tracks/**/*.parquet") if not path.name.startswith(".")]


def digests(root: Path) -> dict[str, str]:
    """Digest of every visible file but the settings, which hold the output's own path."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and path.name != "settings.yaml" and not path.name.startswith(".")
    }


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("undisturbed", type=Path)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    settings, flags = parser.parse_known_args()
    random.seed(settings.seed)
    total = len(parts(settings.undisturbed))
    moments = sorted(random.sample(range(1, total), settings.kills))
    command = [*SPTX, *flags, "--output", str(settings.output)]
    for moment in moments:
        run = subprocess.Popen(command)
        while len(parts(settings.output)) < moment and run.poll() is None:
            time.sleep(0.05)
        time.sleep(random.uniform(0, 3))
        run.kill()
        run.wait()
        print(f"killed with {len(parts(settings.output))} of {total} parts done", flush=True)
    subprocess.run(command, check=True)
    same = digests(settings.output) == digests(settings.undisturbed)
    print("byte-identical to the undisturbed table" if same else "DIFFERENT from the undisturbed table")
    raise SystemExit(not same)


if __name__ == "__main__":
    main()
