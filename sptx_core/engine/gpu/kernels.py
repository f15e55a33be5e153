"""What runs on the GPU, in Triton; `sptx_core.engine.gpu.operations` launches it and says what each kernel computes.

Rows are positions, channels lie beside one another. Products take operands in the dtype of the weights and accumulate
in float32. In float32 an operand is a pair of float16: its value times a power of two, rounded, and what that leaves
out; a row holds the former of all channels and then the latter. Three products of such halves are one of float32: the
parts of 11 bits each are multiplied without error, and the fourth product, of the smaller parts, is below its rounding.
They take the tensor cores half as long as three of TF32 parts (`tf32x3`), which the attention of float32 uses.

Sources: online softmax and tiles of rows as in FlashAttention (Dao et al. 2022); splitting of float32 for tensor cores
as of Ootomo and Yokota (2022).
"""

import triton
import triton.language as tl

# Numbers that differ from launch to launch; for each kind of them a kernel would be compiled anew.
PLACES = [
    *("reach", "margin", "added_reach", "added_margin"),
    *("length", "ends", "first", "stride", "width", "dilation"),
]
PRODUCT = tl.constexpr("tf32x3")  # of float32 operands; others are multiplied as they are
SCALE = tl.constexpr(8.0)  # of what a pair stands for: up to 8,188, within 2 ** -22 of it or else 2 ** -28


@triton.jit
def _store(out, row, channel, y, there, CHANNELS: tl.constexpr, PAIRS: tl.constexpr):
    """Some channels of rows, in the dtype of `out` or as pairs."""
    at = out + row * (2 * CHANNELS if PAIRS else CHANNELS) + channel
    if PAIRS:
        y *= SCALE
        high = y.to(tl.float16)
        tl.store(at, high, mask=there)
        tl.store(at + CHANNELS, (y - high.to(tl.float32)).to(tl.float16), mask=there)
    else:
        tl.store(at, y.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["rows"])
def normalise(
    x, scale, shift, eps, normed, means, rows,
    HIDDEN: tl.constexpr, ROWS: tl.constexpr, BUCKET: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    channel = tl.arange(0, HIDDEN)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None]
    y = tl.load(x + at * HIDDEN + channel, mask=there, other=0.0)
    centred = y - (tl.sum(y, 1) / HIDDEN)[:, None]
    deviation = tl.sqrt(tl.sum(centred * centred, 1) / HIDDEN + eps)
    y = centred * (1 / deviation)[:, None] * tl.load(scale + channel) + tl.load(shift + channel)
    _store_means(means, y, channel, rows, HIDDEN, ROWS, BUCKET)
    _store(normed, at, channel, y, there, HIDDEN, PAIRS)


@triton.jit(do_not_specialize=["buckets", "first", "asked"])
def choose(
    means, query, key, scale, chosen, probability, buckets, first, asked,
    HIDDEN: tl.constexpr, WIDTH: tl.constexpr, FAR: tl.constexpr, BUCKETS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    window, head = tl.program_id(0), tl.program_id(1)
    bucket, channel = tl.arange(0, BUCKETS), tl.arange(0, WIDTH)
    there = bucket < buckets
    q = tl.zeros((BUCKETS, WIDTH), dtype=tl.float32)
    k = tl.zeros((BUCKETS, WIDTH), dtype=tl.float32)
    for low in range(0, HIDDEN, DEPTH):
        depth = low + tl.arange(0, DEPTH)
        mean = tl.load(means + (window * buckets + bucket)[:, None] * HIDDEN + depth, mask=there[:, None], other=0.0)
        part = (head * WIDTH + channel)[None, :] * HIDDEN + depth[:, None]
        q = tl.dot(mean, tl.load(query + part), q, input_precision="ieee")
        k = tl.dot(mean, tl.load(key + part), k, input_precision="ieee")
    fit = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    fit = tl.where(there[None, :], fit, float("-inf"))
    total = tl.sum(tl.exp(fit - tl.max(fit, 1)[:, None]), 1)
    to = (window * asked + bucket - first) * FAR + head
    wanted = (bucket >= first) & (bucket < first + asked)
    which = tl.minimum(tl.argmax(fit, 1), buckets - 1)  # also where nothing is a number
    tl.store(chosen + to, (which + window * buckets).to(tl.int64), mask=wanted)
    tl.store(probability + to, 1 / total, mask=wanted)


@triton.jit(do_not_specialize=["buckets", "first", "asked"])
def attend(
    qkv, far, chosen, probability, out, buckets, first, asked,
    LOCAL: tl.constexpr, FAR_STRIDE: tl.constexpr, PAIRS: tl.constexpr,
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
    _store(out, row, head * WIDTH + channel[None, :], found, position[:, None] < SIZE, HEADS * WIDTH, PAIRS)


@triton.jit(do_not_specialize=["rows"])
def finish(
    x, attended, output, output_bias, scale, shift, eps, normed, expand, expand_bias, contract, contract_bias,
    next_scale, next_shift, next_eps, means, rows,
    HIDDEN: tl.constexpr, INNER: tl.constexpr, ROWS: tl.constexpr, DEPTH: tl.constexpr, BUCKET: tl.constexpr,
    NEXT: tl.constexpr,
):  # fmt: skip
    # Channels are held in two halves, so that a half which changes its layout still fits the registers.
    HALF: tl.constexpr = HIDDEN // 2
    channel, low = tl.arange(0, HIDDEN), tl.arange(0, HALF)
    high = HALF + low
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None] * HIDDEN
    y0 = tl.zeros((ROWS, HALF), dtype=tl.float32)
    y1 = tl.zeros((ROWS, HALF), dtype=tl.float32)
    for first in range(0, HIDDEN, DEPTH):
        depth = first + tl.arange(0, DEPTH)
        some = tl.load(attended + at + depth, mask=there, other=0.0)
        y0 = tl.dot(some, tl.load(output + low[None, :] * HIDDEN + depth[:, None]), y0, input_precision=PRODUCT)
        y1 = tl.dot(some, tl.load(output + high[None, :] * HIDDEN + depth[:, None]), y1, input_precision=PRODUCT)
    y0 += tl.load(output_bias + low) + tl.load(x + at + low, mask=there, other=0.0)
    y1 += tl.load(output_bias + high) + tl.load(x + at + high, mask=there, other=0.0)
    z0, z1 = _norm_of_halves(y0, y1, scale, shift, eps, HALF)
    # Stored and loaded: an operand that is loaded is multiplied from where it lies in shared memory, and does not take
    # registers that the sums need. Other threads may have written what one reads.
    tl.store(normed + at + low, z0.to(normed.dtype.element_ty), mask=there)
    tl.store(normed + at + high, z1.to(normed.dtype.element_ty), mask=there)
    tl.debug_barrier()
    operand = tl.load(normed + at + channel, mask=there, other=0.0)
    bias = tl.load(expand_bias + tl.arange(0, DEPTH))
    for first in range(0, INNER, DEPTH):
        depth = first + tl.arange(0, DEPTH)
        bias_now = bias
        bias = tl.load(expand_bias + DEPTH + depth, mask=DEPTH + depth < INNER, other=0.0)
        part = tl.load(expand + depth[None, :] * HIDDEN + channel[:, None])
        wide = _gelu(tl.dot(operand, part, input_precision=PRODUCT) + bias_now).to(part.dtype)
        y0 = tl.dot(wide, tl.load(contract + low[None, :] * INNER + depth[:, None]), y0, input_precision=PRODUCT)
        y1 = tl.dot(wide, tl.load(contract + high[None, :] * INNER + depth[:, None]), y1, input_precision=PRODUCT)
    y0 += tl.load(contract_bias + low)
    y1 += tl.load(contract_bias + high)
    tl.store(x + at + low, y0, mask=there)
    tl.store(x + at + high, y1, mask=there)
    if NEXT:
        z0, z1 = _norm_of_halves(y0, y1, next_scale, next_shift, next_eps, HALF)
        _store_means(means, z0, low, rows, HIDDEN, ROWS, BUCKET)
        _store_means(means, z1, high, rows, HIDDEN, ROWS, BUCKET)
        tl.debug_barrier()  # the operand has been read
        tl.store(normed + at + low, z0.to(normed.dtype.element_ty), mask=there)
        tl.store(normed + at + high, z1.to(normed.dtype.element_ty), mask=there)


@triton.jit
def _norm_of_halves(y0, y1, scale, shift, eps, HALF: tl.constexpr):
    """LayerNorm of rows, of which the channels come in two halves."""
    channel = tl.arange(0, HALF)
    mean = ((tl.sum(y0, 1) + tl.sum(y1, 1)) / (2 * HALF))[:, None]
    squares = tl.sum((y0 - mean) * (y0 - mean), 1) + tl.sum((y1 - mean) * (y1 - mean), 1)
    factor = (1 / tl.sqrt(squares / (2 * HALF) + eps))[:, None]
    z0 = (y0 - mean) * factor * tl.load(scale + channel) + tl.load(shift + channel)
    z1 = (y1 - mean) * factor * tl.load(scale + HALF + channel) + tl.load(shift + HALF + channel)
    return z0, z1


@triton.jit
def _store_means(means, z, channel, rows, HIDDEN: tl.constexpr, ROWS: tl.constexpr, BUCKET: tl.constexpr):
    """Means of some channels of rows over each bucket."""
    of_bucket = tl.sum(tl.reshape(z, (ROWS // BUCKET, BUCKET, z.shape[1])), 1) / BUCKET
    number = tl.program_id(0) * (ROWS // BUCKET) + tl.arange(0, ROWS // BUCKET)
    tl.store(means + number[:, None] * HIDDEN + channel, of_bucket, mask=(number < rows // BUCKET)[:, None])


@triton.jit
def _relu(x):
    """In which what is not a number stays so, unlike in `tl.maximum` by itself."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


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
def activate(x, scale, shift, out, rows, CHANNELS: tl.constexpr, ROWS: tl.constexpr, PAIRS: tl.constexpr):
    channel = tl.arange(0, CHANNELS)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None]
    y = tl.load(x + at * CHANNELS + channel, mask=there, other=0.0) * tl.load(scale + channel)
    _store(out, at, channel, _relu(y + tl.load(shift + channel)), there, CHANNELS, PAIRS)


@triton.jit(do_not_specialize=PLACES)
def convolve(
    inner, left, right, reach, margin, added_inner, added_left, added_right, added_reach, added_margin,
    weight, bias, unscale, out, length, ends, first, stride, width, dilation,
    TAPS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, INSIDE: tl.constexpr, ADDED: tl.constexpr,
    BIAS: tl.constexpr, AFTER: tl.constexpr, PAIRS: tl.constexpr, TO_PAIRS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    PARTS: tl.constexpr = OUTPUTS // COLUMNS
    SPLIT: tl.constexpr = PAIRS and inner.dtype.element_ty == tl.float32  # here, rather than before
    WIDTH: tl.constexpr = 2 * INPUTS if PAIRS and not SPLIT else INPUTS
    PART: tl.constexpr = 2 * INPUTS if PAIRS else INPUTS
    STEPS: tl.constexpr = INPUTS // DEPTH
    tile = tl.program_id(0) // PARTS
    column = tl.program_id(0) % PARTS * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    parts = weight + column[None, :] * PART + depth[:, None]
    radius = TAPS // 2 * dilation
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    # Of windows' ends, positions from `margin` on are known, and from `first` on are to be filled. Rows that are not
    # there read what the last one does.
    if INSIDE:
        to = tile * ROWS + tl.arange(0, ROWS)
        there = to < length
        row = tl.minimum(to, length - 1)
        plus = added_inner + (row + (reach + radius - added_reach)) * OUTPUTS
        for step in range(TAPS * STEPS):
            tap, channel = step // STEPS, step % STEPS * DEPTH
            rows = (inner + (row + tap * dilation) * WIDTH)[:, None] + (channel + depth)
            some = tl.load(rows)
            rest = tl.load(rows + INPUTS) if WIDTH > INPUTS else some
            total = _add_products(total, some, rest, parts + (tap * OUTPUTS * PART + channel), INPUTS, PAIRS, SPLIT)
    else:
        each = reach + radius - first
        side_tiles = tl.cdiv(ends, ROWS)
        at_right = tile >= side_tiles
        to = (tile - tl.where(at_right, side_tiles, 0)) * ROWS + tl.arange(0, ROWS)
        there = to < ends
        row = tl.minimum(to, ends - 1)
        to += length + tl.where(at_right, ends, 0)
        window = (row // each).to(tl.int64)
        position = tl.where(at_right, width - reach - radius, first) + row % each
        in_kept, in_inner, start, held = _places(
            inner, left, right, reach, margin, window, stride, width, at_right, WIDTH
        )
        for step in range(TAPS * STEPS):
            tap, channel = step // STEPS, step % STEPS * DEPTH
            read = position - radius + tap * dilation
            rows = tl.where(_among(read, start, held), in_kept, in_inner) + read * WIDTH
            rows = rows[:, None] + (channel + depth)
            inside = _among(read, 0, width)[:, None]
            some = tl.load(rows, mask=inside, other=0.0)
            rest = tl.load(rows + INPUTS, mask=inside, other=0.0) if WIDTH > INPUTS else some
            total = _add_products(total, some, rest, parts + (tap * OUTPUTS * PART + channel), INPUTS, PAIRS, SPLIT)
        in_kept, in_inner, start, held = _places(
            added_inner, added_left, added_right, added_reach, added_margin, window, stride, width, at_right, OUTPUTS
        )
        plus = tl.where(_among(position, start, held), in_kept, in_inner) + position * OUTPUTS
    if PAIRS:
        total *= unscale
    if BIAS:
        total += tl.load(bias + column)
    if AFTER == "relu":
        total = _relu(total)
    if AFTER == "gelu":
        total = _gelu(total)
    if ADDED:
        total += tl.load(plus[:, None] + column, mask=there[:, None], other=0.0)
    _store(out, to.to(tl.int64)[:, None], column[None, :], total, there[:, None], OUTPUTS, TO_PAIRS)


@triton.jit
def _add_products(total, some, rest, parts, INPUTS: tl.constexpr, PAIRS: tl.constexpr, SPLIT: tl.constexpr):
    """Sums with a step's products; `rest` holds the second halves of pairs."""
    if SPLIT:
        some *= SCALE
        rest = (some - some.to(tl.float16).to(tl.float32)).to(tl.float16)
    part = tl.load(parts)
    some = some.to(part.dtype)
    total = tl.dot(some, part, total, input_precision=PRODUCT)
    if PAIRS:
        total = tl.dot(rest, part, total)
        total = tl.dot(some, tl.load(parts + INPUTS), total)
    return total


@triton.jit
def _places(inner, left, right, reach, margin, window, stride, width, at_right, CHANNELS: tl.constexpr):
    """Where position 0 of windows would lie among those kept at an end and in what is inside; which are kept."""
    start, held = tl.where(at_right, width - reach, margin), reach - margin
    kept = tl.where(at_right, right, left)
    return kept + (window * held - start) * CHANNELS, inner + (window * stride - reach) * CHANNELS, start, held


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
