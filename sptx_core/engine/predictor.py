"""Codes of stretches in, scores of their windows out.

In: stretches of consecutive windows, uint8 codes (A C G T N = 0..4) 5' to 3', of length (n - 1) * stride + core +
2 * context (`sptx_core.windows`). Out: probabilities, float32 [n, core, channels], by window and 5' to 3'; the channels
are those of `sptx_core.channels`. For a fixed batch, path and number of threads (which the caller sets by
`torch.set_num_threads`) the same stretches give the same bytes on one kind of hardware.

Errors: `InputError` for settings that cannot work; `ArithmeticError` for output that is not finite.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Self

import numpy as np
import torch

from sptx_core import channels
from sptx_core.alphabet import N_CODE, Codes
from sptx_core.engine.families import Family
from sptx_core.engine.machine import exact_arithmetic, require_device
from sptx_core.engine.paths import AUTO, PRECISIONS, PathRequest, resolve
from sptx_core.engine.streaming import FamilyScores, Scores, ScoreStream
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec


class Predictor:
    """A loaded network made ready for prediction; the network given is left as it is.

    Parameters
    ----------
    model : SpTransformerModel
        The network, on any device.
    spec : WindowSpec
        How the windows lie; its context must be the network's.
    precision : str
        "float32" or "bfloat16".
    device : str
        "cpu", "cuda" or "cuda:<index>".
    batch : int
        Windows in a micro-batch. On a CPU only the path `reference` has micro-batches; the others take one window a
        thread.
    path : str
        One of `PATHS`; "auto" leaves `triton` out, which only `calibrate` may find to be the faster one.

    Attributes
    ----------
    path : str
        The path that was taken, never "auto".
    channels : int
        Channels of the scores.

    Raises
    ------
    InputError
        The settings cannot work together.
    """

    def __init__(
        self,
        model: SpTransformerModel,
        spec: WindowSpec,
        *,
        precision: str = "float32",
        device: str = "cpu",
        batch: int,
        path: str = AUTO,
    ) -> None:
        _require_valid(model, spec, precision, device, batch)
        entry = resolve(path, PathRequest(model.sizes, spec, device, precision))
        self.spec, self.path, self.device = spec, entry.name, torch.device(device)
        self.channels = len(channels.SPLICE) + model.sizes.tissues
        has_batches = self.device.type != "cpu" or entry.name == "reference"
        ready = copy.deepcopy(model).to(device=device).eval()
        with torch.inference_mode(), exact_arithmetic(device):
            made = entry.make(ready, spec, PRECISIONS[precision], batch if has_batches else None)
        self._scores = ScoreStream(made, spec, channels=self.channels, device=self.device)

    @classmethod
    def planned(
        cls, model: SpTransformerModel, spec: WindowSpec, *, path: str, precision: str, device: str, batch: int
    ) -> Self:
        """The path that was planned on another machine, or the nearest that this one can run; `.path` says which.

        `native` falls back to what "auto" stands for here, where the library cannot be used. `triton` falls back to
        `shared` where its kernels cannot be compiled or run, which is tried on one window of N: this machine may have
        no compiler, another Triton or another GPU than the one that planned.

        Parameters
        ----------
        model, spec, precision, device, batch
            As for `Predictor`.
        path : str
            The path planned.

        Raises
        ------
        InputError
            The settings cannot work together on any path.
        RuntimeError
            The GPU is lost (`is_device_lost`).
        """
        build = partial(cls, model, spec, precision=precision, device=device, batch=batch)
        if path == "native":
            return build(path=AUTO)
        if path != "triton":
            return build(path=path)
        try:
            return build(path=path)._tried()
        except Exception as error:  # of many kinds: no compiler, a driver too old, too little memory
            require_device(error, device)
        return build(path="shared")  # outside the handler, whose error would keep the memory of the other path

    def _tried(self) -> Self:
        """The predictor, after it has predicted one window of N."""
        self.predict([np.full(self.spec.width, N_CODE, dtype=np.uint8)])
        return self

    def predict(self, stretches: Sequence[Codes]) -> list[Scores]:
        """Scores of the windows of each stretch.

        Parameters
        ----------
        stretches : sequence of Codes
            Each uint8 [(n - 1) * stride + core + 2 * context], 5' to 3'.

        Returns
        -------
        list of numpy.ndarray
            For each stretch float32 [n, core, channels], 5' to 3'.

        Raises
        ------
        ValueError
            A stretch is not a whole number of windows.
        ArithmeticError
            The network's output is not finite.
        """
        (found,) = self.stream([stretches])
        if isinstance(found, ArithmeticError):
            raise found
        return found

    def stream(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[list[Scores] | ArithmeticError]:
        """Scores of one job after another, in the order of the jobs, each as soon as it is complete.

        Some paths begin a job while the one before it is still being computed, so that the device always has work:
        `shared` and `triton` on a GPU, `native` on several threads. They take the next job from `jobs` when they have
        room for it. If no job is waiting at that moment, `jobs` should yield None after a short wait: the path then
        completes what it has begun and asks again, without a pause of its own. The other paths take a job when the one
        before it is complete, and skip None.

        The scores of a job do not depend on the jobs around it.

        Parameters
        ----------
        jobs : iterable of (sequence of Codes or None)
            Each job is what `predict` takes; the stream ends when the jobs do.

        Yields
        ------
        list of numpy.ndarray or ArithmeticError
            What `predict` returns or raises for the job. Other errors are raised here and end the stream.
        """
        return self._scores(jobs)

    def stream_families(self, families: Iterable[Family | None]) -> Iterator[FamilyScores | ArithmeticError]:
        """Scores of windows and of small changes of them, of one family after another, as `stream` does it.

        Each different window of a family is computed once, and what its windows share is shared. Scores are those of
        the windows by themselves, within the accuracy of the path; the overlap of the window layout means nothing here.
        The scores of a family do not depend on the families around it.

        Parameters
        ----------
        families : iterable of (Family or None)
            None as for `stream`.

        Yields
        ------
        FamilyScores or ArithmeticError
            Scores, and how near a tie the choices of each window were; the error where scores are not finite.

        Raises
        ------
        ValueError
            A window does not lie within its stretch, or replaced bases not within their window.
        """
        return self._scores.families(families)


def _require_valid(model: SpTransformerModel, spec: WindowSpec, precision: str, device: str, batch: int) -> None:
    """Check what no path could work with."""
    config = model.sizes
    if spec.context != config.context:
        raise InputError(f"windows have {spec.context} flanking bases and the network reads {config.context}: use its.")
    if spec.core > config.max_seq_len:
        raise InputError(
            f"window core is {spec.core}: this network predicts {config.max_seq_len} bases at once at most."
        )
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is unknown: choose one of {', '.join(PRECISIONS)}.")
    if batch < 1:
        raise InputError(f"batch is {batch}: choose at least 1 window.")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} was asked for, but PyTorch finds no CUDA device here: use device 'cpu'.")
