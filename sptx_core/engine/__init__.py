"""The engine: codes of stretches in, scores of their windows out, as fast as the machine allows.

The network (`sptx_core.model`) stays plain and knows nothing of this package, which is applied to a loaded network from
outside. `Predictor` has these paths (`sptx_core.engine.paths` is the table of them):

- `reference`: the network as it is, in micro-batches of windows; every other path is measured against it;
- `shared`: the same scores, each base encoded once for all the windows that share it, in float32 or bfloat16;
- `native`: the same as `shared`, its costly parts compiled, on CPUs with AVX-512;
- `triton`: the same as `shared`, its costly parts as kernels for GPUs;
- `auto`: the fastest path that can be used for this network, these windows, this device and this precision.

Stretches of neighbouring windows are predicted by `Predictor.predict` and `stream`, windows and small changes of them
(`Family`, `Alternative`) by `stream_families`, which computes once what these share.

`calibrate` chooses path and micro-batch once, before the first result is kept; after that they stay as they are. Which
path is the fastest on a GPU has to be measured, so without `calibrate` `auto` is `shared` there.
"""

from sptx_core.engine.calibration import Calibration, calibrate, hardware
from sptx_core.engine.families import Alternative, Family
from sptx_core.engine.machine import is_device_lost
from sptx_core.engine.paths import PATHS, PRECISIONS
from sptx_core.engine.predictor import Predictor
from sptx_core.engine.streaming import FamilyScores

__all__ = [
    "PATHS",
    "PRECISIONS",
    "Alternative",
    "Calibration",
    "Family",
    "FamilyScores",
    "Predictor",
    "calibrate",
    "hardware",
    "is_device_lost",
]
