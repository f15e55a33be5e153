// What all else is made of: float32 values become operands of products, words are transposed, memory is prefetched.
//
// Needs AVX-512 F, DQ, BW and VL, in all modes but FLOAT32 BF16 too. Pointers need no alignment. Any thread may call
// these functions.

#pragma once

#include <immintrin.h>

#include <type_traits>

#include "../modes.h"

#define ALWAYS_INLINE __attribute__((always_inline))
#define INLINE static inline ALWAYS_INLINE
#define UNROLLED_FOR(...) _Pragma("GCC unroll 16") for (__VA_ARGS__)

namespace sptx::kernels {
namespace {

// The number of rows in sums [rows][...].
template <class Sums>
constexpr int ROWS_IN = std::extent_v<std::remove_reference_t<Sums>>;

// 32 float32 -> 32 bfloat16, in order.
INLINE __m512i to_bfloat16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

// Takes 32 values as bfloat16 out of them: returns the rounded values and leaves what rounding left out, exactly.
INLINE __m512i take_bfloat16(__m512& low, __m512& high) {
    const __m512i part = to_bfloat16(low, high);
    const auto value = [](__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); };
    low = _mm512_sub_ps(low, value(_mm512_castsi512_si256(part)));
    high = _mm512_sub_ps(high, value(_mm512_extracti64x4_epi64(part, 1)));
    return part;
}

// 32 values as operands: words_of<M>(32) words.
template <Mode M>
INLINE void store(Word* to, __m512 low, __m512 high) {
    if constexpr (M == MATRIX_FLOAT32) {
        _mm512_storeu_si512(to, take_bfloat16(low, high));
        _mm512_storeu_si512(to + 16, take_bfloat16(low, high));
        _mm512_storeu_si512(to + 32, to_bfloat16(low, high));
    } else if constexpr (M != FLOAT32) {
        _mm512_storeu_si512(to, to_bfloat16(low, high));
    } else {
        _mm512_storeu_ps(to, low);
        _mm512_storeu_ps(to + 16, high);
    }
}

// Rows y [R][32 values] as operands, rows `pitch` words apart.
template <Mode M, int R>
INLINE void store_rows(Word* to, long pitch, const __m512 (&y)[R][2]) {
    UNROLLED_FOR (int r = 0; r < R; r++) store<M>(to + r * pitch, y[r][0], y[r][1]);
}

// Values x [count] as operands [words_of<M>(count)]; `count` is a multiple of 32.
template <Mode M>
INLINE void as_operands(const float* x, int count, Word* to) {
    for (int i = 0; i < count; i += 32)
        store<M>(to + words_of<M>(i), _mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16));
}

// Asks for `count` 32-bit words that will be read and written soon, so that they are in the second cache by then.
INLINE void prefetch(const void* from, int count) {
    for (int i = 0; i < count; i += 16) __builtin_prefetch(static_cast<const Word*>(from) + i, 1, 2);
}

// Words [16][16], rows `pitch` words apart -> the transposed [16][16], rows `to_pitch` words apart.
INLINE void transpose16(const Word* from, int pitch, Word* to, int to_pitch) {
    __m512i a[16], b[16];
    UNROLLED_FOR (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(from + i * pitch);
    UNROLLED_FOR (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLLED_FOR (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    // a[4 g + j] holds, in lane l of 128 bits, column 4 l + j of rows 4 g ... 4 g + 3.
    UNROLLED_FOR (int j = 0; j < 4; j++) {
        const __m512i low02 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88);
        const __m512i low13 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
        const __m512i high02 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
        const __m512i high13 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
        _mm512_storeu_si512(to + j * to_pitch, _mm512_shuffle_i32x4(low02, high02, 0x88));
        _mm512_storeu_si512(to + (4 + j) * to_pitch, _mm512_shuffle_i32x4(low13, high13, 0x88));
        _mm512_storeu_si512(to + (8 + j) * to_pitch, _mm512_shuffle_i32x4(low02, high02, 0xdd));
        _mm512_storeu_si512(to + (12 + j) * to_pitch, _mm512_shuffle_i32x4(low13, high13, 0xdd));
    }
}

}  // namespace
}  // namespace sptx::kernels
