"""All checks on a GPU in one command, under ten minutes a call, with a report as Markdown and JSON.

    make gpu-check                                                    # into gpu-check/
    python benchmarks/gpu_check.py --output FOLDER --checkpoint C.ckpt
    python benchmarks/gpu_check.py --output FOLDER --device cpu --small    # the same steps, tiny and on a CPU

Steps: tests on the GPU; speed of the engine's paths; their differences from the network in float64; times of the
kernels; a step of fine-tuning; the pipeline beside the engine. Needs PyTorch, NumPy, safetensors and lazy-loader; a
step that needs more is left out where that is missing, and the report says so. Without `--checkpoint` the network is
made from a seed, without `--fasta` and `--gtf` the sequence is the megabase in `shared/data` beside the repository, or
a random one where that is missing.

Each step is a process of its own with a time limit (`benchmarks/gpu_steps.py`): whatever happens in it is recorded, and
the next one begins. A call ends after `--minutes`; the same command again goes on with the steps that are not finished
and tries those again that failed. FOLDER holds `report.md`, `report.json` and what each step printed.

Exit codes: 0 passed (steps left out are no failure), 1 a step failed, 2 nothing can be checked here, 3 the time of the
call is over, the same command goes on; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from gpu_report import markdown  # noqa: E402  # stands beside this script

DATA = ROOT.parent / "shared" / "data"
MEGABASE = DATA / "GRCh38.chr9_1Mb.fa.gz", DATA / "gencode.chr9_1Mb.gtf.gz"
ENGINE_NEEDS = ("torch", "numpy", "safetensors", "lazy_loader")
PIPELINE_NEEDS = ("ray", "polars", "pyarrow", "pydantic", "yaml", "fsspec", "pyfaidx", "pyranges", "psutil", "Bio")
LEFT_OUT = 77  # exit code of a step that cannot be done here; the last line that it prints says why
MIN_SECONDS = 15.0  # less than this is not worth the start of a step
PASSED, FAILED, TIMED_OUT, OMITTED, UNFINISHED = "passed", "failed", "timed out", "left out", "unfinished"
ERROR_LINES = 25  # of a step that failed, kept in the report


class Step(NamedTuple):
    """A check: its name in `gpu_steps.py`, what people call it, its limit, and modules without which it is left out."""

    name: str
    title: str
    seconds: float
    needs: tuple[str, ...] = ()


MACHINE = Step("machine", "The machine", 60)
STEPS = (
    Step("tests", "Tests on the GPU", 180, ("pytest", "pytest_timeout", "hypothesis")),
    Step("bench", "Speed of the engine's paths", 150),
    Step("float64", "Difference from the network in float64", 120),
    Step("kernels", "Times of the kernels", 120, ("triton",)),
    Step("training", "A step of fine-tuning", 90),
    Step("pipeline", "The pipeline beside the engine", 180, PIPELINE_NEEDS),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is not done yet, report, and exit as the module says."""
    settings = parser().parse_args(arguments)
    chosen = [step for step in STEPS if step.name in settings.steps]
    lacking = [name for name in ENGINE_NEEDS if importlib.util.find_spec(name) is None]
    if lacking:
        sys.exit(_refused(f"the engine needs {', '.join(lacking)}: install with pip what is missing here"))
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the step ends with this process
    folder: Path = settings.output
    folder.mkdir(parents=True, exist_ok=True)
    report = _report_begun(folder, _inputs(settings))
    machine = run_step(MACHINE, folder, MACHINE.seconds)
    if machine["status"] != PASSED:
        sys.exit(_refused(machine["reason"]))
    before = report.get("machine") or machine["findings"]
    if before["device"] != machine["findings"]["device"]:
        sys.exit(_refused(f"{folder} holds a check of {before['device']}: choose another --output"))
    report["machine"] = machine["findings"]
    done: dict[str, dict[str, Any]] = report["steps"]
    fresh = [step for step in chosen if done.get(step.name, {}).get("status", UNFINISHED) == UNFINISHED]
    again = [step for step in chosen if step not in fresh and done[step.name]["status"] != PASSED]
    for step in (*fresh, *again):
        left = 60 * settings.minutes - (time.monotonic() - began)
        done[step.name] = run_step(step, folder, left)
        print(_line(step, done[step.name]), flush=True)
        write(folder, report)
    write(folder, report)
    print(f"the report is {folder / 'report.md'}")
    found = {done[step.name]["status"] for step in chosen}
    sys.exit(3 if UNFINISHED in found else 1 if found & {FAILED, TIMED_OUT} else 0)


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--output", type=Path, default=Path("gpu-check"), help="folder of the report [gpu-check]")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--small", action="store_true", help="a tiny network and few windows")
    made.add_argument("--checkpoint", help="official .ckpt, safetensors file or folder")
    made.add_argument("--fasta", help="plain or bgzip; needs --gtf")
    made.add_argument("--gtf")
    made.add_argument("--minutes", type=float, default=9.5, help="of this call [9.5]")
    made.add_argument(
        "--steps", type=lambda text: text.split(","), default=[step.name for step in STEPS], help="names, with commas"
    )
    return made


def run_step(step: Step, folder: Path, left: float) -> dict[str, Any]:
    """Do one step within its limit and the `left` seconds of the call; what it found, ready for JSON."""
    lacking = [name for name in step.needs if importlib.util.find_spec(name) is None]
    if lacking:
        return {"status": OMITTED, "reason": f"needs {', '.join(lacking)}", "seconds": 0.0}
    limit = min(step.seconds, left)
    if limit < MIN_SECONDS:
        return {"status": UNFINISHED, "reason": "the time of this call is over", "seconds": 0.0}
    findings = folder / f"{step.name}.json"
    findings.unlink(missing_ok=True)
    began = time.monotonic()
    try:
        code = _call(step.name, folder, limit)
    except subprocess.TimeoutExpired:
        whole = limit == step.seconds
        reason = f"not done within {limit:,.0f} s" if whole else "the time of this call is over"
        return {"status": TIMED_OUT if whole else UNFINISHED, "reason": reason, "seconds": limit, **_said(step, folder)}
    said = _said(step, folder)
    found: dict[str, Any] = {"status": PASSED, "reason": "", "seconds": round(time.monotonic() - began, 1), **said}
    if code == LEFT_OUT:
        found |= {"status": OMITTED, "reason": (said["printed"] or [""])[-1]}
    elif code:
        found |= {"status": FAILED, "reason": (said["errors"] or [f"exit code {code}"])[-1]}
    try:
        found["findings"] = json.loads(findings.read_text())
    except (OSError, ValueError):
        if not code and step is MACHINE:
            found |= {"status": FAILED, "reason": f"{findings} was not written"}
    return found


def write(folder: Path, report: dict[str, Any]) -> None:
    """Write both reports, each whole or not at all."""
    titles = {step.name: step.title for step in STEPS}
    for name, text in (("report.json", json.dumps(report, indent=1) + "\n"), ("report.md", markdown(report, titles))):
        hidden = folder / f".{name}"
        hidden.write_text(text)
        hidden.replace(folder / name)


def _call(name: str, folder: Path, limit: float) -> int:
    """Run a step to its end and return its exit code; the processes that it started end with it."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_steps.py"), name, str(folder)]
    with (folder / f"{name}.out").open("w") as out, (folder / f"{name}.err").open("w") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, cwd=ROOT, env=environment, start_new_session=True, stdin=subprocess.DEVNULL
        )
        try:
            return process.wait(limit)
        finally:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _said(step: Step, folder: Path) -> dict[str, list[str]]:
    """Lines that a step printed, and the last of its errors."""
    printed, errors = (
        (folder / f"{step.name}.{kind}").read_text(errors="replace").splitlines() for kind in ("out", "err")
    )
    return {"printed": printed, "errors": [line for line in errors if line.strip()][-ERROR_LINES:]}


def _inputs(settings: argparse.Namespace) -> dict[str, Any]:
    """The settings that steps read, checked; paths are absolute, None where the step makes its own."""
    if (settings.fasta is None) != (settings.gtf is None):
        sys.exit(_refused("--fasta and --gtf belong together: give both, or neither"))
    unknown = set(settings.steps) - {step.name for step in STEPS}
    if unknown:
        sys.exit(_refused(f"--steps {', '.join(sorted(unknown))}: steps are {', '.join(step.name for step in STEPS)}"))
    given = {"fasta": settings.fasta, "gtf": settings.gtf, "checkpoint": settings.checkpoint}
    if settings.fasta is None and not settings.small and all(path.exists() for path in MEGABASE):
        given |= {"fasta": str(MEGABASE[0]), "gtf": str(MEGABASE[1])}
    for flag, path in given.items():
        if path is not None and not Path(path).exists():
            sys.exit(_refused(f"--{flag} {path}: there is no such file or folder"))
    absolute = {flag: path if path is None else str(Path(path).absolute()) for flag, path in given.items()}
    return {"device": settings.device, "small": settings.small, **absolute}


def _report_begun(folder: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """The report of earlier calls, or an empty one; refuses a folder with other settings."""
    place = folder / "report.json"
    report: dict[str, Any] = {"settings": inputs, "machine": None, "steps": {}}
    if place.exists():
        try:
            report = json.loads(place.read_text())
            before = report["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            sys.exit(_refused(f"{place} is no report of this check: choose another --output"))
        if before != inputs:
            differing = [name for name in inputs if before.get(name) != inputs[name]]
            sys.exit(_refused(f"{folder} holds a check with another {', '.join(differing)}: choose another --output"))
    (folder / "settings.json").write_text(json.dumps(inputs, indent=1) + "\n")
    return report


def _line(step: Step, found: dict[str, Any]) -> str:
    reason = f": {found['reason']}" if found["reason"] else ""
    return f"{step.title}: {found['status']} ({found['seconds']:,.0f} s){reason}"


def _refused(sentence: str) -> int:
    """Say why nothing is checked; the exit code for it."""
    print(f"gpu-check: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
