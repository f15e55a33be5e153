"""The path `shared`: what the network computes, without computing anything twice or for nothing.

In and out as in `sptx_core.engine.reference`. Stretches are encoded in runs of windows (`sptx_core.engine.encoding`),
then each window passes the attention layers (`sptx_core.engine.transformer`). Exact: in float64 it equals the network
to rounding. In bfloat16 only the operands of products are; residuals, norms, softmax, the choice of buckets and
accumulation are float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from sptx_core.alphabet import Codes
from sptx_core.engine.encoding import Encoder
from sptx_core.engine.memory import keep_freed_memory
from sptx_core.engine.transformer import Transformer
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

RUN = 24  # windows encoded at once: the first of a run costs as much as six more, each takes some 25 MB


class SharedPath:
    """The network taken apart and folded for a window layout.

    Args:
        model: the network, on the device to be used.
        spec: how the windows lie; see `fits`.
        dtype: precision of the operands of products: float32, bfloat16, or float64 for tests.

    """

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        wide = torch.promote_types(dtype, torch.float32)
        exact = copy.deepcopy(model).double()
        self.spec, self.device = spec, next(model.parameters()).device
        if self.device.type == "cpu":
            keep_freed_memory()
        self.encoder = Encoder(exact, spec, dtype, wide)
        self.transformer = Transformer(exact, spec, dtype, wide)

    def logits(self, stretches: Sequence[Codes]) -> Iterator[Tensor]:
        """Logits [1, core, channels] of consecutive windows.

        On a CPU as many windows pass the attention layers at once as the caller has threads (`torch.set_num_threads`),
        each in a thread of its own: unlike threads within each operation they never wait for one another.
        """
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        if threads == 1:
            for x in self._encoded(stretches):
                yield self._attend(x)
            return
        with ThreadPoolExecutor(threads, "window", initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for run in self._runs(stretches):
                yield from pool.map(self._attend, self.encoder(run))

    def _encoded(self, stretches: Sequence[Codes]) -> Iterator[Tensor]:
        for run in self._runs(stretches):
            yield from self.encoder(run)

    def _runs(self, stretches: Sequence[Codes]) -> Iterator[Tensor]:
        """Codes of up to RUN consecutive windows at a time, on the device."""
        for stretch in stretches:
            windows = self.spec.count(len(stretch))
            for k in range(0, windows, RUN):
                first, end = self.spec.input_span(k, min(k + RUN, windows) - 1)
                codes = torch.from_numpy(stretch[first + self.spec.context : end + self.spec.context].copy())
                yield codes.to(self.device)

    @torch.inference_mode()
    def _attend(self, x: Tensor) -> Tensor:
        return self.transformer(x)[None]


def fits(model: SpTransformerModel, spec: WindowSpec) -> bool:
    """Whether windows are wider than their ends, so that there is something to share."""
    reach = [
        sum(stage.blocks * 2 * (stage.kernel_size // 2) * stage.dilation for stage in encoder.stages)
        for encoder in model.config.encoders
    ]
    return 2 * max(reach) < spec.width
