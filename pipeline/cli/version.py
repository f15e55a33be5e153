"""What `sptx --version` prints: versions, and the engine's paths with the reasons against those not usable here."""

from __future__ import annotations

import platform
from importlib.metadata import version

from sptx_core.version import __version__


def version_text() -> str:
    """Versions of sptx, Python, PyTorch and Ray, and a line for each engine path and device."""
    from sptx_core.engine.calibration import hardware
    from sptx_core.engine.machine import devices
    from sptx_core.engine.paths import describe_paths

    lines = [
        f"sptx {__version__}",
        f"Python {platform.python_version()}, PyTorch {version('torch')}, Ray {version('ray')}",
    ]
    for device in devices():
        lines.append(f"engine paths on {device} ({hardware(device)}):")
        lines += [f"  {name}: {described}" for name, described in describe_paths(device).items()]
    return "\n".join(lines)
