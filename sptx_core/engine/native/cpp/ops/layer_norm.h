// LayerNorm in float32. Needs AVX-512 F and DQ. Any thread may call it.

#pragma once

#include "../arguments.h"
#include "vectors.h"

namespace sptx::kernels {
namespace {

constexpr int NORM_ROWS = 4;  // rows at a time, so that sums of different rows overlap

// LayerNorm of rows x [NORM_ROWS][size] to y [NORM_ROWS][size]; `size` is a multiple of 16.
INLINE void normalise(const float* x, int size, const Norm& norm, float* y) {
    constexpr int R = NORM_ROWS;
    __m512 sum[R], squares[R], mean[R], scale[R];
    UNROLLED_FOR (int r = 0; r < R; r++) sum[r] = squares[r] = _mm512_setzero_ps();
    for (int i = 0; i < size; i += 16)
        UNROLLED_FOR (int r = 0; r < R; r++) sum[r] = _mm512_add_ps(sum[r], _mm512_loadu_ps(x + r * size + i));
    UNROLLED_FOR (int r = 0; r < R; r++) mean[r] = _mm512_set1_ps(_mm512_reduce_add_ps(sum[r]) / size);
    for (int i = 0; i < size; i += 16)
        UNROLLED_FOR (int r = 0; r < R; r++) {
            const __m512 v = _mm512_sub_ps(_mm512_loadu_ps(x + r * size + i), mean[r]);
            squares[r] = _mm512_fmadd_ps(v, v, squares[r]);
        }
    UNROLLED_FOR (int r = 0; r < R; r++)
        scale[r] = _mm512_set1_ps(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares[r]) / size + norm.epsilon));
    for (int i = 0; i < size; i += 16) {
        const __m512 weight = _mm512_loadu_ps(norm.weight + i), bias = _mm512_loadu_ps(norm.bias + i);
        UNROLLED_FOR (int r = 0; r < R; r++) {
            const __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + r * size + i), mean[r]), scale[r]);
            _mm512_storeu_ps(y + r * size + i, _mm512_fmadd_ps(v, weight, bias));
        }
    }
}

}  // namespace
}  // namespace sptx::kernels
