"""Weights as the compiled library reads them: laid out in panels, and the structures that point to them.

In: PyTorch's weights of any floating-point dtype, in PyTorch's shapes; channels are multiples of 32, which
`library.fits` checks. Out: contiguous tensors on the CPU, and the structures `Layer` and `Convolution` of
`cpp/arguments.h` that point to them. Right sides of products are in the precision of a mode, all else in float32.
Layouts are described in `cpp/modes.h` and `cpp/convolutions/toom_cook.h`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.native.modes import Mode

PANEL = 32  # columns of a panel, as in cpp/modes.h; also the channels of an attention head
STEP = 32  # elements of the summed dimension in a step of the matrix units, 16 words of two bfloat16
TAPS = 4  # of a group, as in cpp/convolutions/toom_cook.h
POINTS = (0, 1, -1, 1 / 2, -1 / 2, 3)  # of Toom-Cook, as there; the last one is infinity
POINTER = ctypes.c_void_p


class NormArguments(ctypes.Structure):
    """`Norm` of cpp/arguments.h."""

    _fields_ = (("weight", POINTER), ("bias", POINTER), ("epsilon", ctypes.c_float))


class LayerArguments(ctypes.Structure):
    """`Layer` of cpp/arguments.h, with the tensors that it points to."""

    _fields_ = (
        ("attention_norm", NormArguments),
        ("feed_forward_norm", NormArguments),
        *((name, POINTER) for name in ("project", "output", "expand", "contract", "mean_query", "mean_key")),
        *((name, POINTER) for name in ("output_bias", "expand_bias", "contract_bias")),
        *((name, ctypes.c_int) for name in ("hidden", "heads", "local_heads", "inner")),
    )

    tensors: Sequence[Tensor | None]
    """Keeps the memory that the structure points to alive."""

    @classmethod
    def of(
        cls,
        norms: Sequence[tuple[Tensor, Tensor, float]],
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        sizes: Sequence[int],
    ) -> LayerArguments:
        """Point to the weights of an attention layer and its feed-forward.

        Parameters
        ----------
        norms : sequence of 2 (Tensor, Tensor, float)
            Weight [hidden], bias [hidden] and epsilon of the norms before attention and before the feed-forward.
        weights : sequence of 6 Tensor
            From `panels`: queries, keys and values of all heads [3 * hidden, hidden]; output [hidden, hidden];
            expansion [inner, hidden]; contraction [hidden, inner]; in `Mode.FLOAT32` queries and keys of the Sinkhorn
            heads. Queries carry the factor PANEL ** -0.5 / ln 2.
        biases : sequence of 3 Tensor
            Of output [hidden], expansion [inner] and contraction [hidden].
        sizes : sequence of 4 int
            hidden, heads, local heads, inner.

        """
        normed = [_float32(values) for weight, bias, _ in norms for values in (weight, bias)]
        added = [_float32(bias) for bias in biases]
        arguments = cls(
            *(
                NormArguments(normed[2 * i].data_ptr(), normed[2 * i + 1].data_ptr(), norm[2])
                for i, norm in enumerate(norms)
            ),
            *(tensor.data_ptr() for tensor in (*weights, *added)),
            *sizes,
        )
        arguments.tensors = (*normed, *weights, *added)
        return arguments


class ConvolutionArguments(ctypes.Structure):
    """`Convolution` of cpp/arguments.h, with the tensors that it points to."""

    _fields_ = (
        *((name, POINTER) for name in ("weight", "last", "bias", "scale", "shift")),
        *((name, ctypes.c_int) for name in ("inputs", "outputs", "groups", "dilation", "relu")),
        ("leak", ctypes.c_float),
    )

    tensors: Sequence[Tensor | None]
    """Keeps the memory that the structure points to alive."""

    @classmethod
    def of_positions(cls, weight: Tensor, mode: Mode) -> ConvolutionArguments:
        """Lay out a linear map of each position.

        Parameters
        ----------
        weight : Tensor [C out, C in]
            The map; it has no bias.
        mode : Mode
            The mode of the calls that it is for.

        """
        outputs, inputs = weight.shape
        return cls._of([panels(weight, mode), None, None, None, None], (inputs, outputs, 0, 1, False, 0.0))

    @classmethod
    def of(
        cls,
        weight: Tensor,
        bias: Tensor,
        norm: tuple[Tensor, Tensor] | None,
        *,
        dilation: int,
        relu: bool,
        leak: float = 0.0,
        mode: Mode,
    ) -> ConvolutionArguments:
        """Lay out a convolution, whose taps go in groups of TAPS; a single tap that is left over goes alone.

        Parameters
        ----------
        weight : Tensor [C out, C in, kernel]
            The taps.
        bias : Tensor [C out]
            Added to the result.
        norm : (Tensor [C in], Tensor [C in]) or None
            Scale and shift of a norm before the convolution, which a ReLU follows.
        dilation : int
            Positions from one tap to the next.
        relu : bool
            Whether a ReLU follows the bias.
        leak : float
            What either ReLU leaves of negative values.
        mode : Mode
            The mode of the calls that it is for.

        """
        outputs, inputs, kernel = weight.shape
        alone = kernel % TAPS == 1 and kernel > 1
        grouped = at_points(weight[..., : kernel - alone])  # [points, groups, C out, C in]
        scale, shift = norm or (None, None)
        tensors = [
            panels(grouped, mode).transpose(1, 2).contiguous(),
            panels(weight[..., -1], mode) if alone else None,
            _float32(bias),
            None if scale is None else _float32(scale),
            None if shift is None else _float32(shift),
        ]
        return cls._of(tensors, (inputs, outputs, grouped.shape[1], dilation, relu, leak))

    @classmethod
    def _of(cls, tensors: Sequence[Tensor | None], sizes: Sequence[float]) -> ConvolutionArguments:
        arguments = cls(*(None if tensor is None else tensor.data_ptr() for tensor in tensors), *sizes)
        arguments.tensors = tensors
        return arguments


def panels(weight: Tensor, mode: Mode) -> Tensor:
    """Lay out linear maps as right sides of products.

    Parameters
    ----------
    weight : Tensor [..., C out, C in]
        Linear maps; both sizes are multiples of 32.
    mode : Mode
        The mode of the calls that they are for.

    Returns
    -------
    Tensor
        In `Mode.FLOAT32` float32 [..., C out / PANEL, C in, PANEL], else bfloat16
        [..., C out / PANEL, mode.words(C in), PANEL, 2].

    """
    *outer, outputs, inputs = weight.shape
    values = weight.float()
    if not mode.parts:
        return values.reshape(*outer, outputs // PANEL, PANEL, inputs).transpose(-2, -1).contiguous()
    parts = []
    for _ in range(mode.parts):
        parts.append(values.bfloat16())
        values = values - parts[-1]
    steps = torch.stack(parts).reshape(mode.parts, *outer, outputs // PANEL, PANEL, inputs // STEP, STEP // 2, 2)
    steps = steps.movedim(0, -3).movedim(-5, -2)  # [..., panels, steps, parts, STEP / 2, PANEL, 2]
    return steps.reshape(*outer, outputs // PANEL, -1, PANEL, 2).contiguous()


def at_points(weight: Tensor) -> Tensor:
    """Evaluate each group of a convolution's taps, as a polynomial, at each point of Toom-Cook.

    Each value is also divided by the product of the differences between its point and the others. This is the division
    of the interpolation, which the library leaves out.

    Parameters
    ----------
    weight : Tensor [C out, C in, kernel]
        The taps; a last group that is not full is filled up with zeros.

    Returns
    -------
    Tensor [len(POINTS) + 1, groups, C out, C in]
        In the dtype of `weight`.

    """
    groups = -(-weight.shape[2] // TAPS)
    taps = torch.unflatten(F.pad(weight, (0, TAPS * groups - weight.shape[2])), 2, (groups, TAPS))
    powers = [
        [point**i / math.prod(point - other for other in POINTS if other != point) for i in range(TAPS)]
        for point in POINTS
    ]
    return torch.einsum("oigt,pt->pgoi", taps, weight.new_tensor([*powers, [0, 0, 0, 1]]))


def _float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32).contiguous()
