// Softmax attention of several heads by the matrix units, in blocks of 16 queries.
//
// Head, softmax and layouts are those of attention.h. While vectors take the softmax of a block, the matrix units score
// the block after it and multiply the shares of the block before it by values, step by step; what the head after it
// reads is on its way to the second cache.
//
// Needs AMX with BF16 and a TileRegisters that lives on the calling thread. Register 0 holds scores, 1 and 2 sums of
// values; parts of the left side are in 3, 4 and 5, of the right side in 6 and 7.

#pragma once

#include "../ops/tile_products.h"
#include "attention.h"

namespace sptx::kernels {
namespace {

constexpr int BLOCKS = BUCKET / TILE_ROWS;  // of queries of a bucket

// What the blocks in flight hold: scores of the next two, shares and factors of the last two, sums of the one before.
template <Mode M, int N>
struct Blocks {
    alignas(64) float scores[2][TILE_ROWS * N * BUCKET];
    alignas(64) float sums[TILE_ROWS * PANEL];
    alignas(64) Word shares[2][TILE_ROWS * words_of<M>(N * BUCKET)];
    float factors[2][TILE_ROWS];
};

// Scores [TILE_ROWS][N * BUCKET] of a block of queries to keys in groups of 16, of which [first, end).
template <Mode M, int N>
INLINE void score_by_tiles(const Word* queries, const Source (&sources)[N], int first, int end, float* scores) {
    constexpr int words = words_of<M>(PANEL), columns = N * BUCKET;
    flush_to_memory();
    _tile_loadd(4, queries, words * sizeof(Word));
    if constexpr (PARTS<M> == 3) {
        _tile_loadd(3, queries + 16, words * sizeof(Word));
        _tile_loadd(5, queries + 32, words * sizeof(Word));
    }
    for (int z = first; z < smaller(end, 4 * N); z++) {
        const Word* keys = sources[z / 4].keys + z % 4 * 16;
        _tile_loadd(6, keys, BUCKET * sizeof(Word));
        _tile_zero(0);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (PARTS<M> == 3) {
            _tile_loadd(7, keys + 16 * BUCKET, BUCKET * sizeof(Word));
            _tile_dpbf16ps(0, 3, 6);
            _tile_dpbf16ps(0, 5, 6);
            _tile_loadd(6, keys + 32 * BUCKET, BUCKET * sizeof(Word));
            _tile_dpbf16ps(0, 4, 7);
            _tile_dpbf16ps(0, 3, 7);
            _tile_dpbf16ps(0, 4, 6);
        }
        _tile_stored(0, scores + 16 * z, columns * sizeof(float));
    }
}

// Step `step` of 2 * N, 32 keys each, of a block of shares times values; the last one stores the sums.
template <Mode M, int N>
INLINE void multiply_by_values(const Word* shares, const Source (&sources)[N], int step, float* sums) {
    constexpr long pitch = words_of<M>(N * BUCKET) * sizeof(Word);
    if (step == 0) {
        _tile_zero(1);
        _tile_zero(2);
    }
    const Word* left = shares + STEP_WORDS<M> * step;
    const Word* right = sources[step / 2].values + step % 2 * STEP_WORDS<M> * PANEL;
    flush_to_memory();
    const auto load = [&](int part) {
        _tile_loadd(6, right + 16 * part * PANEL, PANEL * sizeof(Word));
        _tile_loadd(7, right + 16 * part * PANEL + 16, PANEL * sizeof(Word));
    };
    _tile_loadd(5, left, pitch);
    load(0);
    _tile_dpbf16ps(1, 5, 6);
    _tile_dpbf16ps(2, 5, 7);
    if constexpr (PARTS<M> == 3) {
        _tile_loadd(3, left + 16, pitch);
        _tile_loadd(4, left + 32, pitch);
        _tile_dpbf16ps(1, 3, 6);
        _tile_dpbf16ps(2, 3, 7);
        _tile_dpbf16ps(1, 4, 6);
        _tile_dpbf16ps(2, 4, 7);
        load(1);
        _tile_dpbf16ps(1, 5, 6);
        _tile_dpbf16ps(2, 5, 7);
        _tile_dpbf16ps(1, 3, 6);
        _tile_dpbf16ps(2, 3, 7);
        load(2);
        _tile_dpbf16ps(1, 5, 6);
        _tile_dpbf16ps(2, 5, 7);
    }
    if (step == 2 * N - 1) {
        _tile_stored(1, sums, PANEL * sizeof(float));
        _tile_stored(2, sums + 16, PANEL * sizeof(float));
    }
}

// Sums [TILE_ROWS][PANEL] times their factors, as operands, rows `pitch` words apart.
template <Mode M>
INLINE void store_attended(const float* sums, const float* factors, Word* to, long pitch) {
    for (int r = 0; r < TILE_ROWS; r++) {
        const __m512 share = _mm512_set1_ps(factors[r]);
        store<M>(to + r * pitch, _mm512_mul_ps(_mm512_load_ps(sums + r * PANEL), share),
                 _mm512_mul_ps(_mm512_load_ps(sums + r * PANEL + 16), share));
    }
}

// Asks for `count` words from `at` on of each head block that a head reads.
template <int N>
INLINE void prefetch_head(const Head<N>& head, int at, int count) {
    for (int i = 0; i < count; i += 16) {
        __builtin_prefetch(head.queries + at + i, 0, 2);
        for (int n = 0; n < N; n++) {
            __builtin_prefetch(head.sources[n].keys + at + i, 0, 2);
            __builtin_prefetch(head.sources[n].values + at + i, 0, 2);
        }
    }
}

// Attention of heads [count], at least one, each to its `to`, rows `pitch` words apart.
template <Mode M, int N, bool Weighted>
void attend_heads_by_tiles(const Head<N>* heads, int count, long pitch) {
    constexpr int words = words_of<M>(PANEL), columns = N * BUCKET;
    constexpr int pairs = TILE_ROWS / 2, each = (4 * N + pairs - 1) / pairs;  // pairs of rows; groups of keys for each
    constexpr int prefetched = HEAD_BLOCK<M> / (BLOCKS * pairs);              // words for each
    Blocks<M, N> in;
    const auto queries = [&](int block) { return heads[block / BLOCKS].queries + block % BLOCKS * TILE_ROWS * words; };
    const auto score_block = [&](int block, int first, int end) ALWAYS_INLINE {
        score_by_tiles<M, N>(queries(block), heads[block / BLOCKS].sources, first, end, in.scores[block % 2]);
    };
    const auto values = [&](int block, int step) ALWAYS_INLINE {
        multiply_by_values<M, N>(in.shares[block % 2], heads[block / BLOCKS].sources, step, in.sums);
    };
    const auto finish = [&](int block) ALWAYS_INLINE {
        Word* to = heads[block / BLOCKS].to + block % BLOCKS * TILE_ROWS * pitch;
        store_attended<M>(in.sums, in.factors[block % 2], to, pitch);
    };
    const int blocks = BLOCKS * count;
    score_block(0, 0, 4 * N);
    for (int block = 0; block < blocks; block++) {
        const Head<N>& head = heads[block / BLOCKS];
        for (int pair = 0; pair < pairs; pair++) {
            if (block < blocks - 1) score_block(block + 1, pair * each, (pair + 1) * each);
            if (block && pair < 2 * N) values(block - 1, pair);
            if (block / BLOCKS + 1 < count)
                prefetch_head(heads[block / BLOCKS + 1], (block % BLOCKS * pairs + pair) * prefetched, prefetched);
            __m512 y[2][4 * N];
            const float* from = in.scores[block % 2] + 2 * pair * columns;
            UNROLLED_FOR (int r = 0; r < 2; r++)
                UNROLLED_FOR (int z = 0; z < 4 * N; z++) y[r][z] = _mm512_load_ps(from + r * columns + 16 * z);
            softmax<M, N, Weighted>(y, head.weight, in.shares[block % 2] + 2 * pair * words_of<M>(columns),
                                    in.factors[block % 2] + 2 * pair);
        }
        if (block) finish(block - 1);
    }
    for (int step = 0; step < 2 * N; step++) values(blocks - 1, step);
    finish(blocks - 1);
}

}  // namespace
}  // namespace sptx::kernels
