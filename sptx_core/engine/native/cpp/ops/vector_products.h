// Products of matrices by vectors, in the modes FLOAT32 and BFLOAT16.
//
// A product's left side is a [rows][words], rows `pitch` words apart; its right side is panels (modes.h). Eight rows at
// a time keep their 16 sums in registers. Sums are float32, added up word by word, in BFLOAT16 pair by pair.
//
// Needs AVX-512, for BFLOAT16 with BF16. Any thread may call these functions.

#pragma once

#include "vectors.h"

namespace sptx::kernels {
namespace {

constexpr int ROWS = 8;           // rows of a product at a time
constexpr int FINISHED_ROWS = 4;  // rows that a caller finishes at a time, at most: more would not stay in registers

template <Mode M>
INLINE __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
    static_assert(!by_matrix_units(M));
    if constexpr (M == BFLOAT16)
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    else
        return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

template <int R, int Z>
INLINE void clear(__m512 (&sums)[R][Z]) {
    UNROLLED_FOR (int r = 0; r < R; r++)
        UNROLLED_FOR (int z = 0; z < Z; z++) sums[r][z] = _mm512_setzero_ps();
}

// Adds to sums [R][16 * Z] the product of a [R][words], rows `pitch` words apart, and b [words][16 * Z].
template <Mode M, int R, int Z>
INLINE void accumulate(const Word* a, long pitch, const Word* b, long words, __m512 (&sums)[R][Z]) {
    // Hides where a and b come from: else the compiler advances a pointer to each row, in memory, from one call to the
    // next, which made convolutions up to 4 % slower.
    asm("" : "+r"(a), "+r"(b));
    _Pragma("GCC unroll 8") for (long k = 0; k < words; k++) {
        __m512i right[Z];
        UNROLLED_FOR (int z = 0; z < Z; z++) right[z] = _mm512_loadu_si512(b + 16 * (Z * k + z));
        UNROLLED_FOR (int r = 0; r < R; r++) {
            const __m512i left = _mm512_set1_epi32(a[r * pitch + k]);
            UNROLLED_FOR (int z = 0; z < Z; z++) sums[r][z] = multiply_add<M>(sums[r][z], left, right[z]);
        }
    }
}

// Gives the sums of rows first ... first + R - 1 to finish(row, sums [1 or FINISHED_ROWS][2]).
template <int R, class Finish>
INLINE void finish_rows(int first, __m512 (&sums)[R][2], Finish finish) {
    constexpr int at_once = smaller(R, FINISHED_ROWS);
    UNROLLED_FOR (int r = 0; r < R; r += at_once) {
        __m512 y[at_once][2];
        UNROLLED_FOR (int i = 0; i < at_once; i++) y[i][0] = sums[r + i][0], y[i][1] = sums[r + i][1];
        finish(first + r, y);
    }
}

template <Mode M, int R, class Finish>
INLINE void multiply_rows(const Word* a, long pitch, const Word* b, int words, int first, Finish finish) {
    __m512 sums[R][2];
    clear(sums);
    accumulate<M>(a + first * pitch, pitch, b, words, sums);
    finish_rows(first, sums, finish);
}

// Multiplies rows of a by one panel b; finish(row, sums [1 or FINISHED_ROWS][2]) gets columns 0 ... 15 and 16 ... 31 of
// the rows from `row` on.
template <Mode M, class Finish>
INLINE void multiply_panel(const Word* a, long pitch, int rows, const Word* b, int words, Finish finish) {
    int r = 0;
    for (; r + ROWS <= rows; r += ROWS) multiply_rows<M, ROWS>(a, pitch, b, words, r, finish);
    for (; r < rows; r++) multiply_rows<M, 1>(a, pitch, b, words, r, finish);
}

}  // namespace
}  // namespace sptx::kernels
