// 2^x and GELU of N vectors of 16 float32, in place, step by step, so that the processor always has N things to do.
//
// Needs AVX-512 F and DQ. Any thread may call these functions. In bfloat16 (modes.h) results are as exact as their
// rounding to bfloat16 needs.

#pragma once

#include <initializer_list>

#include "vectors.h"

namespace sptx::kernels {
namespace {

// y = polynomial of x; coefficients from that of the highest power down.
template <int N>
INLINE void polynomials(const __m512 (&x)[N], __m512 (&y)[N], std::initializer_list<float> coefficients) {
    const float* c = coefficients.begin();
    UNROLLED_FOR (int n = 0; n < N; n++) y[n] = _mm512_set1_ps(*c);
    while (++c < coefficients.end())
        UNROLLED_FOR (int n = 0; n < N; n++) y[n] = _mm512_fmadd_ps(y[n], x[n], _mm512_set1_ps(*c));
}

// 2^x for x <= 0. Polynomials of least relative error for 2^f, 0 <= f < 1: 8e-8, or 3e-6 for a result in bfloat16.
template <Mode M, int N>
INLINE void exp2(__m512 (&x)[N]) {
    __m512 f[N], y[N];
    UNROLLED_FOR (int n = 0; n < N; n++) f[n] = _mm512_reduce_ps(x[n], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    if constexpr (!in_float32(M))
        polynomials(f, y, {1.35341636e-2f, 5.20114688e-2f, 2.41442752e-1f, 6.93003835e-1f, 1.00000259f});
    else
        polynomials(f, y,
                    {1.87757625e-3f, 8.98934112e-3f, 5.58263172e-2f, 2.40153617e-1f, 6.93153073e-1f, 9.99999925e-1f});
    UNROLLED_FOR (int n = 0; n < N; n++) x[n] = _mm512_scalef_ps(y[n], x[n]);  // times 2^floor(x)
}

// x times the normal distribution function, which is 1/2 + x N(x^2) / D(x^2), fitted by least squares: for float32 on
// |x| < 5.5, within 1e-6 of the exact value, as far as float32 itself takes it; for a result in bfloat16 on |x| < 4.5,
// within 2e-4. Beyond, the function keeps its last value, which is within 2e-8 (3e-5 in bfloat16) of 0 or 1.
template <Mode M, int N>
INLINE void gelu(__m512 (&x)[N]) {
    const __m512 end = _mm512_set1_ps(in_float32(M) ? 5.5f : 4.5f);
    const __m512 minus_end = _mm512_set1_ps(in_float32(M) ? -5.5f : -4.5f);
    __m512 near[N], square[N], over[N], under[N];
    UNROLLED_FOR (int n = 0; n < N; n++) near[n] = _mm512_max_ps(_mm512_min_ps(x[n], end), minus_end);
    UNROLLED_FOR (int n = 0; n < N; n++) square[n] = _mm512_mul_ps(near[n], near[n]);
    if constexpr (!in_float32(M)) {
        polynomials(square, over, {3.3336886e-05f, 3.8322216e-03f, 2.7383617e-02f, 3.9893289e-01f});
        polynomials(square, under, {1.1668131e-03f, 2.3806593e-02f, 2.3528513e-01f, 1.0000000e+00f});
        UNROLLED_FOR (int n = 0; n < N; n++) over[n] = _mm512_mul_ps(over[n], _mm512_rcp14_ps(under[n]));
    } else {
        polynomials(square, over,
                    {2.2215985e-8f, 6.5305344e-6f, 1.8284701e-4f, 4.7615524e-3f, 3.5141360e-2f, 3.9894199e-1f});
        polynomials(square, under, {1.1953837e-6f, 7.8605925e-5f, 1.9623749e-3f, 2.9398127e-2f, 2.5474992e-1f, 1.0f});
        UNROLLED_FOR (int n = 0; n < N; n++) over[n] = _mm512_div_ps(over[n], under[n]);
    }
    UNROLLED_FOR (int n = 0; n < N; n++)
        x[n] = _mm512_mul_ps(x[n], _mm512_fmadd_ps(near[n], over[n], _mm512_set1_ps(0.5f)));
}

}  // namespace
}  // namespace sptx::kernels
