// Softmax attention of one head of a bucket to one, two or three buckets, by vectors.
//
// Queries, keys and values are head blocks (head_blocks.h); queries carry the factor 32^-0.5 / ln 2, since softmax is
// taken to the base 2. Out come operands [64 positions][words of 32 channels] of the output projection.
//
// Needs AVX-512, in modes other than FLOAT32 with BF16. Any thread may call these functions.

#pragma once

#include "../ops/activations.h"
#include "../ops/vector_products.h"
#include "head_blocks.h"

namespace sptx::kernels {
namespace {

// A bucket that is attended to: keys by word, values as a panel.
struct Source {
    const Word *keys, *values;
};

// A head's attention to N sources. `weight` multiplies keys and values of the first source where a head is weighted.
template <int N>
struct Head {
    const Word* queries;
    Source sources[N];
    float weight;
    Word* to;
};

// Joins N vectors in an order that keeps four chains busy.
template <int N, class Join>
INLINE __m512 reduce(const __m512 (&x)[N], Join join) {
    __m512 z[4] = {x[0], x[1], x[2], x[3]};
    UNROLLED_FOR (int i = 4; i < N; i++) z[i % 4] = join(z[i % 4], x[i]);
    return join(join(z[0], z[1]), join(z[2], z[3]));
}

// Two rows of scores y [2][N * BUCKET] -> shares of the softmax before they are divided by their sum, as operands
// [2][words of N * BUCKET], and the factors that divide by it, factor [2].
template <Mode M, int N, bool Weighted>
INLINE void softmax(__m512 (&y)[2][4 * N], float weight, Word* shares, float* factor) {
    const auto larger_of = [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); };
    const auto sum_of = [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); };
    UNROLLED_FOR (int r = 0; r < 2; r++) {
        if (Weighted)
            UNROLLED_FOR (int z = 0; z < 4; z++) y[r][z] = _mm512_mul_ps(y[r][z], _mm512_set1_ps(weight));
        const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(reduce(y[r], larger_of)));
        UNROLLED_FOR (int z = 0; z < 4 * N; z++) y[r][z] = _mm512_sub_ps(y[r][z], top);
        exp2<M>(y[r]);
        factor[r] = 1.0f / _mm512_reduce_add_ps(reduce(y[r], sum_of));
        if (Weighted)
            UNROLLED_FOR (int z = 0; z < 4; z++) y[r][z] = _mm512_mul_ps(y[r][z], _mm512_set1_ps(weight));
        UNROLLED_FOR (int z = 0; z < 4 * N; z += 2)
            store<M>(shares + r * N * words_of<M>(BUCKET) + words_of<M>(16 * z), y[r][z], y[r][z + 1]);
    }
}

// Scores of two queries, `words` words each, to the keys of N sources.
template <Mode M, int N>
INLINE void score(const Word* queries, int words, const Source (&sources)[N], __m512 (&y)[2][4 * N]) {
    clear(y);
    for (int k = 0; k < words; k++) {
        __m512i left[2];
        UNROLLED_FOR (int r = 0; r < 2; r++) left[r] = _mm512_set1_epi32(queries[r * words + k]);
        UNROLLED_FOR (int z = 0; z < 4 * N; z++) {
            const __m512i right = _mm512_loadu_si512(sources[z / 4].keys + k * BUCKET + z % 4 * 16);
            UNROLLED_FOR (int r = 0; r < 2; r++) y[r][z] = multiply_add<M>(y[r][z], left[r], right);
        }
    }
}

// Attention of one head to head.to, rows `pitch` words apart.
template <Mode M, int N, bool Weighted>
INLINE void attend_head(const Head<N>& head, long pitch) {
    constexpr int words = words_of<M>(PANEL), across = words_of<M>(BUCKET);
    alignas(64) Word shares[ROWS][N * across];
    for (int first = 0; first < BUCKET; first += ROWS) {
        float factor[ROWS];
        for (int row = 0; row < ROWS; row += 2) {
            __m512 y[2][4 * N];
            score<M, N>(head.queries + (first + row) * words, words, head.sources, y);
            softmax<M, N, Weighted>(y, head.weight, shares[row], factor + row);
        }
        __m512 sums[ROWS][2];
        clear(sums);
        for (int n = 0; n < N; n++)
            accumulate<M>(shares[0] + n * across, N * across, head.sources[n].values, across, sums);
        UNROLLED_FOR (int r = 0; r < ROWS; r++) {
            const __m512 share = _mm512_set1_ps(factor[r]);
            store<M>(head.to + (first + r) * pitch, _mm512_mul_ps(sums[r][0], share), _mm512_mul_ps(sums[r][1], share));
        }
    }
}

}  // namespace
}  // namespace sptx::kernels
