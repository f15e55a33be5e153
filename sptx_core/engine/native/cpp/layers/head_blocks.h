// How queries, keys and values of a bucket lie in memory between projection and attention.
//
// A head block holds the 64 positions by 32 channels of one head, HEAD_BLOCK words of operands. A bucket has, one after
// the other:
//
//   queries of each head                by position: [64][words of 32 channels]
//   keys of each head                   by word: [words of 32 channels][64 positions]
//   values of each head                 as a panel: [words of 64 positions][32 channels]
//   keys of each Sinkhorn head          as a panel
//
// The last are for buckets that a head chose: in the network their keys stand in for their values, too.
//
// Needs AVX-512, in modes other than FLOAT32 with BF16. Any thread may call these functions.

#pragma once

#include <cstring>

#include "../arguments.h"
#include "../ops/vectors.h"

namespace sptx::kernels {
namespace {

template <Mode M>
constexpr int HEAD_BLOCK = words_of<M>(BUCKET * PANEL);

// Head blocks of a bucket.
INLINE int head_blocks(const Layer& layer) { return 4 * layer.heads - layer.local_heads; }

// Operands by position [BUCKET][words of PANEL] -> by word [words of PANEL][BUCKET].
template <Mode M>
INLINE void by_word(const Word* from, Word* to) {
    constexpr int words = words_of<M>(PANEL);
    for (int w = 0; w < words; w += 16)
        for (int p = 0; p < BUCKET; p += 16) transpose16(from + p * words + w, words, to + w * BUCKET + p, BUCKET);
}

// Operands by position [BUCKET][words of PANEL] -> a panel [words of BUCKET][PANEL], whose words hold two positions
// where operands are bfloat16.
template <Mode M>
INLINE void as_panel(const Word* from, Word* to) {
    if constexpr (M == FLOAT32) {
        std::memcpy(to, from, BUCKET * PANEL * sizeof(Word));
    } else {
        alignas(64) uint16_t low[32], high[32];
        for (int i = 0; i < 16; i++) {
            low[2 * i] = i, low[2 * i + 1] = 32 + i;
            high[2 * i] = 16 + i, high[2 * i + 1] = 48 + i;
        }
        const __m512i lows = _mm512_load_si512(low), highs = _mm512_load_si512(high);
        for (int p = 0; p < BUCKET; p += 2)
            for (int part = 0; part < PARTS<M>; part++) {
                const Word* pair = from + p * STEP_WORDS<M> + part * 16;
                const __m512i even = _mm512_loadu_si512(pair), odd = _mm512_loadu_si512(pair + STEP_WORDS<M>);
                Word* row = to + (p / 32 * STEP_WORDS<M> + part * 16 + p % 32 / 2) * PANEL;
                _mm512_storeu_si512(row, _mm512_permutex2var_epi16(even, lows, odd));
                _mm512_storeu_si512(row + 16, _mm512_permutex2var_epi16(even, highs, odd));
            }
    }
}

}  // namespace
}  // namespace sptx::kernels
