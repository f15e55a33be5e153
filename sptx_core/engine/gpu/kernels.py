"""What runs on the GPU, in Triton; `sptx_core.engine.gpu.operations` launches it and says what each kernel computes.

Rows are positions, channels lie beside one another. Products take operands in the dtype of the weights and accumulate
in float32: bfloat16 on the tensor cores as they are, float32 there too, as three products of TF32 parts (`tf32x3`),
whose error is that of float32 and not that of TF32. Names in capitals are fixed when a kernel is compiled.

Sources: online softmax and tiles of rows as in FlashAttention (Dao et al. 2022); splitting of float32 into TF32 parts
as of Ootomo and Yokota (2022), which Triton calls `tf32x3`.
"""

import triton
import triton.language as tl

# Numbers that differ from launch to launch; for each kind of them a kernel would be compiled anew.
PLACES = [
    *("start", "reach", "held", "added_start", "added_reach", "added_held"),
    *("begin", "first", "length", "stride", "width", "dilation"),
]
PRODUCT = tl.constexpr("tf32x3")  # of float32 operands; others are multiplied as they are


@triton.jit(do_not_specialize=["rows"])
def project(
    x, scale, shift, eps, weight, out, means, rows,
    HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BUCKET: tl.constexpr,
):  # fmt: skip
    channel = tl.arange(0, HIDDEN)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None]
    y = _norm(tl.load(x + at * HIDDEN + channel, mask=there, other=0.0), scale, shift, eps, HIDDEN)
    of_bucket = tl.sum(tl.reshape(y, (ROWS // BUCKET, BUCKET, HIDDEN)), 1) / BUCKET
    number = tl.program_id(0) * (ROWS // BUCKET) + tl.arange(0, ROWS // BUCKET)
    tl.store(means + number[:, None] * HIDDEN + channel, of_bucket, mask=(number < rows // BUCKET)[:, None])
    operand = y.to(weight.dtype.element_ty)
    for first in range(0, OUTPUTS, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        inside = column < OUTPUTS
        part = tl.load(weight + column[None, :] * HIDDEN + channel[:, None], mask=inside[None, :], other=0.0)
        product = tl.dot(operand, part, input_precision=PRODUCT)
        tl.store(out + at * OUTPUTS + column, product.to(out.dtype.element_ty), mask=there & inside[None, :])


@triton.jit
def _norm(x, scale, shift, eps, HIDDEN: tl.constexpr):
    """LayerNorm of rows."""
    channel = tl.arange(0, HIDDEN)
    centred = x - (tl.sum(x, 1) / HIDDEN)[:, None]
    deviation = tl.sqrt(tl.sum(centred * centred, 1) / HIDDEN + eps)
    return centred * (1 / deviation)[:, None] * tl.load(scale + channel) + tl.load(shift + channel)


@triton.jit(do_not_specialize=["buckets", "first", "asked"])
def attend(
    qkv, far, chosen, probability, out, buckets, first, asked,
    LOCAL: tl.constexpr, FAR_STRIDE: tl.constexpr,
    HEADS: tl.constexpr, NEAR: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    number, head = tl.program_id(0), tl.program_id(1)
    if not LOCAL:
        head += NEAR
    FAR: tl.constexpr = HEADS - NEAR
    place = first + number % asked  # of the bucket, among those of its window in qkv
    position, channel = tl.arange(0, SIZE), tl.arange(0, WIDTH)
    start = ((number // asked) * buckets + place).to(tl.int64) * SIZE
    queries = qkv + (start + position)[:, None] * (3 * HEADS * WIDTH) + head * WIDTH + channel
    keys, values = queries + HEADS * WIDTH, queries + 2 * HEADS * WIDTH
    query, value = tl.load(queries), tl.load(values)
    scores = tl.dot(query, tl.trans(tl.load(keys)), input_precision=PRODUCT)
    most = tl.max(scores, 1)
    if LOCAL:
        step = SIZE * 3 * HEADS * WIDTH
        has_before, has_after = place > 0, place < buckets - 1
        before = tl.dot(query, tl.trans(tl.load(keys - step, mask=has_before, other=0.0)), input_precision=PRODUCT)
        after = tl.dot(query, tl.trans(tl.load(keys + step, mask=has_after, other=0.0)), input_precision=PRODUCT)
        before = tl.where(has_before, before, float("-inf"))
        after = tl.where(has_after, after, float("-inf"))
        most = tl.maximum(most, tl.maximum(tl.max(before, 1), tl.max(after, 1)))
        weights = tl.exp2(scores - most[:, None])
        before = tl.exp2(before - most[:, None])
        after = tl.exp2(after - most[:, None])
        total = tl.sum(weights, 1) + tl.sum(before, 1) + tl.sum(after, 1)
        found = tl.dot(weights.to(value.dtype), value, input_precision=PRODUCT)
        of_before = tl.load(values - step, mask=has_before, other=0.0)
        found = tl.dot(before.to(value.dtype), of_before, found, input_precision=PRODUCT)
        of_after = tl.load(values + step, mask=has_after, other=0.0)
        found = tl.dot(after.to(value.dtype), of_after, found, input_precision=PRODUCT)
    else:
        which = tl.load(chosen + number * FAR + head - NEAR)
        share = tl.load(probability + number * FAR + head - NEAR)
        rows = far + (which * SIZE + position)[:, None] * FAR_STRIDE + (head - NEAR) * WIDTH + channel
        other = tl.load(rows)  # which, times the share, are its keys and its values
        of_other = tl.dot(query, tl.trans(other), input_precision=PRODUCT) * share
        most = tl.maximum(most, tl.max(of_other, 1))
        weights = tl.exp2(scores - most[:, None])
        of_other = tl.exp2(of_other - most[:, None])
        total = tl.sum(weights, 1) + tl.sum(of_other, 1)
        found = tl.dot(weights.to(value.dtype), value, input_precision=PRODUCT)
        found = tl.dot((of_other * share).to(value.dtype), other, found, input_precision=PRODUCT)
    found = found * (1 / total)[:, None]
    row = (number * SIZE + position).to(tl.int64)[:, None]
    tl.store(out + row * (HEADS * WIDTH) + head * WIDTH + channel, found.to(out.dtype.element_ty))


@triton.jit(do_not_specialize=["rows"])
def finish(
    x, attended, output, output_bias, scale, shift, eps, normed, expand, expand_bias, contract, contract_bias, rows,
    HIDDEN: tl.constexpr, INNER: tl.constexpr, ROWS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    channel = tl.arange(0, HIDDEN)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None] * HIDDEN
    y = tl.zeros((ROWS, HIDDEN), dtype=tl.float32)
    for first in range(0, HIDDEN, DEPTH):
        depth = first + tl.arange(0, DEPTH)
        some = tl.load(attended + at + depth, mask=there, other=0.0)
        part = tl.load(output + channel[None, :] * HIDDEN + depth[:, None])
        y = tl.dot(some, part, y, input_precision=PRODUCT)
    y += tl.load(output_bias + channel) + tl.load(x + at + channel, mask=there, other=0.0)
    # Both are read again rather than kept: sums and operand do not fit the registers together, and an operand that is
    # loaded is multiplied from where it lies in shared memory. Other threads may have written what one reads.
    tl.store(x + at + channel, y, mask=there)
    tl.store(normed + at + channel, _norm(y, scale, shift, eps, HIDDEN).to(normed.dtype.element_ty), mask=there)
    tl.debug_barrier()
    operand = tl.load(normed + at + channel, mask=there, other=0.0)
    total = tl.zeros((ROWS, HIDDEN), dtype=tl.float32)
    for first in range(0, INNER, DEPTH):
        depth = first + tl.arange(0, DEPTH)
        part = tl.load(expand + depth[None, :] * HIDDEN + channel[:, None])
        wide = _gelu(tl.dot(operand, part, input_precision=PRODUCT) + tl.load(expand_bias + depth))
        part = tl.load(contract + channel[None, :] * INNER + depth[:, None])
        total = tl.dot(wide.to(part.dtype), part, total, input_precision=PRODUCT)
    total += tl.load(contract_bias + channel) + tl.load(x + at + channel, mask=there, other=0.0)
    tl.store(x + at + channel, total, mask=there)


@triton.jit
def _gelu(x):
    """X Phi(x) as relu(x) - |x| Phi(-|x|), with a polynomial for the logarithm of the latter Phi to the base 2.

    Fitted to |x| from 0 to 9 for the least largest error of the result, 7e-9, which is below the rounding of float32:
    with it, 2.5e-7 for any x, and 4.5e-7 by the error function. Beyond, its last term lets Phi vanish.
    """
    a = tl.abs(x)
    power = -1.6904031e-06 * a + 2.5083329e-05
    power = power * a - 1.1446281e-04
    power = power * a - 3.2334172e-04
    power = power * a + 7.3333834e-03
    power = power * a - 5.2714199e-02
    power = power * a - 4.5911545e-01
    power = power * a - 1.1511233e00
    power = power * a - 9.9999887e-01
    return tl.maximum(x, 0.0) - a * tl.exp2(power)


@triton.jit(do_not_specialize=["rows"])
def activate(x, scale, shift, out, rows, CHANNELS: tl.constexpr, ROWS: tl.constexpr):
    channel = tl.arange(0, CHANNELS)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None] * CHANNELS + channel
    y = tl.load(x + at, mask=there, other=0.0) * tl.load(scale + channel) + tl.load(shift + channel)
    tl.store(out + at, tl.maximum(y, 0.0).to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=PLACES)
def convolve(
    inner, kept, start, reach, held,
    added_inner, added_kept, added_start, added_reach, added_held,
    weight, bias, out, begin, first, length, stride, width, dilation,
    TAPS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, ENDS: tl.constexpr, ADDED: tl.constexpr,
    BIAS: tl.constexpr, RELU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    window = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    there = row < length
    read = begin + tl.minimum(row, length - 1)  # by the first tap; rows that are not there read what the last one does
    in_kept, in_inner = _places(inner, kept, start, reach, held, window, stride, INPUTS)
    parts = weight + column[None, :] * INPUTS + depth[:, None]
    STEPS: tl.constexpr = INPUTS // DEPTH
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for step in range(TAPS * STEPS):
        tap, channel = step // STEPS, step % STEPS * DEPTH
        position = read + tap * dilation
        if ENDS:
            rows = tl.where(_among(position, start, held), in_kept, in_inner) + position * INPUTS
            some = tl.load(rows[:, None] + (channel + depth), mask=_among(position, 0, width)[:, None], other=0.0)
        else:
            some = tl.load((in_inner + position * INPUTS)[:, None] + (channel + depth))
        part = tl.load(parts + (tap * OUTPUTS * INPUTS + channel))
        total = tl.dot(some.to(part.dtype), part, total, input_precision=PRODUCT)
    if BIAS:
        total += tl.load(bias + column)
    if RELU:
        total = tl.maximum(total, 0.0)
    if ADDED:
        position = first + row
        in_kept, in_inner = _places(
            added_inner, added_kept, added_start, added_reach, added_held, window, stride, OUTPUTS
        )
        rows = tl.where(_among(position, added_start, added_held), in_kept, in_inner) + position * OUTPUTS
        total += tl.load(rows[:, None] + column, mask=there[:, None], other=0.0)
    at = (window * length + row)[:, None] * OUTPUTS + column
    tl.store(out + at, total.to(out.dtype.element_ty), mask=there[:, None])


@triton.jit
def _places(inner, kept, start, reach, held, window, stride, CHANNELS: tl.constexpr):
    """Where position 0 of a window would lie among those kept and in what is inside."""
    return kept + (window * held - start) * CHANNELS, inner + (window * stride - reach) * CHANNELS


@triton.jit
def _among(position, start, count):
    """Whether start <= position < start + count, by one comparison: what is below is large without a sign."""
    return (position - start).to(tl.uint32) < count.to(tl.uint32)


@triton.jit(do_not_specialize=["first", "stride", "width", "reach", "margin", "begin", "size"])
def place(
    inner, left, right, position, padded, out, first, stride, width, reach, margin, begin, size,
    HIDDEN: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(1).to(tl.int64)
    window = first + number
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, HIDDEN)
    at = begin + row
    in_left = left + (window * (reach - margin) + at - margin) * HIDDEN
    in_right = right + (window * (reach - margin) + at - (width - reach)) * HIDDEN
    in_inner = inner + (window * stride + at - reach) * HIDDEN
    rows = tl.where(at < reach, in_left, tl.where(at < width - reach, in_inner, in_right))
    there = row < size
    held = (at >= margin) & (at < width - margin)
    added = tl.where(held, position, padded) + row * HIDDEN
    found = tl.load(rows[:, None] + channel, mask=(there & held)[:, None], other=0.0)
    found += tl.load(added[:, None] + channel, mask=there[:, None], other=0.0)
    tl.store(out + (number * size + row)[:, None] * HIDDEN + channel, found, mask=there[:, None])
