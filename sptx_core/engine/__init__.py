"""The engine: codes of stretches in, scores of their windows out, as fast as the machine allows.

The network (`sptx_core.model`) stays plain and never learns of this package, which is applied to a loaded network
from outside. `Predictor` has the paths

- `reference`: the network as it is, in micro-batches of windows; what every other path is measured against;
- `shared`: the same numbers without computing anything twice or for nothing, in float32 or bfloat16;
- `native`: the same with its costly parts compiled, on processors with AVX-512;
- `triton`: the same with kernels of our own, on GPUs;
- `auto`: the fastest path there is for this network, these windows and this device.

`calibrate` chooses path and micro-batch once, before the first result is kept; after that they stay as they are. On a
GPU `auto` is a matter of measurement, and so without `calibrate` is `shared`.
"""

from sptx_core.engine.calibration import Calibration, calibrate, hardware
from sptx_core.engine.predictor import PATHS, PRECISIONS, Predictor, is_device_lost

__all__ = ["PATHS", "PRECISIONS", "Calibration", "Predictor", "calibrate", "hardware"]
