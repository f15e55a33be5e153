// Toom-Cook: four outputs of four taps from a product of polynomials, by its values at seven points.
//
// The points are 0, 1, -1, 1/2, -1/2, 3 and infinity, in this order, so seven products stand for sixteen. The values of
// four taps at the points come from Python (`at_points` of weights.py), which also makes the divisions of the
// interpolation, by the differences between points; the positions here are only multiplied and added.
//
// A row of positions that are `dilation` apart stands for four outputs: row q = span * dilation + phase for positions
// (4 * span + i) * dilation + phase, 0 <= i < 4, and reads these and the first three of the row `dilation` after it.
// The next group of four taps meets that row, so all groups share the values of x.
//
// Vectors are of 16 channels. Needs AVX-512 F. Any thread may call these functions.

#pragma once

#include "../ops/vectors.h"

namespace sptx::kernels {
namespace {

constexpr int POINTS = 7;
constexpr int TAPS = 4;  // of a group; also the outputs of a row

// The first position of a row.
INLINE int64_t position_of_row(int64_t row, int dilation) { return row / dilation * TAPS * dilation + row % dilation; }

// a * b + c.
INLINE __m512 scaled_sum(float a, __m512 b, __m512 c) { return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c); }

// Positions x -> values v to multiply by the taps' values: v[p] is the sum of c[i] x[i], where c are the coefficients
// of the polynomial whose zeros are all points but p.
INLINE void values_at_points(const __m512 (&x)[POINTS], __m512 (&v)[POINTS]) {
    __m512 z[POINTS - 1];  // times t - 3
    UNROLLED_FOR (int i = 0; i < POINTS - 1; i++) z[i] = scaled_sum(-3.0f, x[i], x[i + 1]);
    const __m512 even = scaled_sum(-0.25f, z[2], z[4]), odd = scaled_sum(-0.25f, z[1], z[3]);  // times t^2 - 1/4
    const __m512 even1 = _mm512_sub_ps(z[4], z[2]), odd1 = _mm512_sub_ps(z[3], z[1]);          // times t^2 - 1
    v[0] = scaled_sum(-1.25f, z[2], scaled_sum(0.25f, z[0], z[4]));
    v[1] = _mm512_add_ps(even, odd);
    v[2] = _mm512_sub_ps(even, odd);
    v[3] = scaled_sum(0.5f, odd1, even1);
    v[4] = scaled_sum(-0.5f, odd1, even1);
    v[5] = scaled_sum(-1.25f, x[3], scaled_sum(0.25f, x[1], x[5]));
    v[6] = scaled_sum(-1.25f, z[3], scaled_sum(0.25f, z[1], z[5]));
}

// Products m at the points -> outputs y: y[i] is the sum of p^i m[p] over the points p.
INLINE void outputs_of_points(const __m512 (&m)[POINTS], __m512 (&y)[TAPS]) {
    const __m512 sum = _mm512_add_ps(m[1], m[2]), difference = _mm512_sub_ps(m[1], m[2]);
    const __m512 sum_half = _mm512_add_ps(m[3], m[4]), difference_half = _mm512_sub_ps(m[3], m[4]);
    y[0] = _mm512_add_ps(_mm512_add_ps(m[0], sum), _mm512_add_ps(sum_half, m[5]));
    y[1] = scaled_sum(3.0f, m[5], scaled_sum(0.5f, difference_half, difference));
    y[2] = scaled_sum(9.0f, m[5], scaled_sum(0.25f, sum_half, sum));
    y[3] = scaled_sum(27.0f, m[5], scaled_sum(0.125f, difference_half, _mm512_add_ps(difference, m[6])));
}

}  // namespace
}  // namespace sptx::kernels
