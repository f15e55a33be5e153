// The choice of Sinkhorn heads: the bucket whose mean key fits a bucket's mean query best, and its probability.
//
// In float32 in all modes. Needs AVX-512 F, DQ, BW and VL. Any thread may call `choose` with results of its own.

#pragma once

#include "../arguments.h"
#include "../ops/activations.h"
#include "../ops/scratch.h"
#include "../ops/vector_products.h"

namespace sptx::kernels {
namespace {

// Keys of means [buckets][hidden] as panels of 32 buckets, [panels][PANEL channels][PANEL buckets].
INLINE void keys_as_panels(const Word* means, int buckets, int hidden, const Word* weight, float* keys) {
    multiply_panel<FLOAT32>(means, hidden, buckets, weight, hidden, [&](int first, auto& y) {
        for (int r = first; r < first + ROWS_IN<decltype(y)>; r++) {
            alignas(64) float key[PANEL];
            _mm512_store_ps(key, y[r - first][0]);
            _mm512_store_ps(key + 16, y[r - first][1]);
            for (int i = 0; i < PANEL; i++) keys[(r / PANEL * PANEL + i) * PANEL + r % PANEL] = key[i];
        }
    });
}

// The first of the largest of `count` values.
INLINE int index_of_largest(const float* values, int count) {
    int best = 0;
    for (int i = 1; i < count; i++)
        if (values[best] < values[i]) best = i;
    return best;
}

// 1 / (sum of 2^(score - largest)): the probability of the largest of `count` scores.
INLINE float probability_of_largest(const float* scores, int count, float largest) {
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < count; i += 16) {
        const __mmask16 there = i + 16 <= count ? 0xffff : (1 << (count - i)) - 1;
        __m512 y[1] = {_mm512_sub_ps(_mm512_maskz_loadu_ps(there, scores + i), _mm512_set1_ps(largest))};
        exp2<FLOAT32>(y);
        sum = _mm512_mask_add_ps(sum, there, sum, y[0]);
    }
    return 1.0f / _mm512_reduce_add_ps(sum);
}

// By how much score `best`, the largest of `count`, exceeds the next one, or `gap` if that is less.
INLINE float gap_to_next(const float* scores, int count, int best, float gap) {
    for (int i = 0; i < count; i++)
        if (i != best) gap = smaller(gap, scores[best] - scores[i]);
    return gap;
}

// For buckets [first, first + count) of each window and each Sinkhorn head: chosen [windows * count][Sinkhorn heads],
// the bucket chosen among the `buckets` of the window, counted through all windows, and its share of the softmax,
// `probability`, of the same shape. `means` [windows * buckets][hidden] are those of normed positions. Where `gaps`
// [windows] is not null, each becomes the smallest difference between the two best scores of a bucket, if it is larger.
void choose(const Layer& layer, const float* means, int windows, int buckets, int first, int count, int32_t* chosen,
            float* probability, float* gaps) {
    const int hidden = layer.hidden, sinkhorn_heads = layer.heads - layer.local_heads;
    const int panels = (buckets + PANEL - 1) / PANEL;  // of buckets
    const Scratch queries(sizeof(float) * count * PANEL), keys(sizeof(float) * panels * PANEL * PANEL);
    const Scratch scores(sizeof(float) * count * panels * PANEL);
    for (int window = 0; window < windows; window++) {
        const Word* of_window = reinterpret_cast<const Word*>(means + size_t(window) * buckets * hidden);
        for (int head = 0; head < sinkhorn_heads; head++) {
            const size_t weight = size_t(head) * hidden * PANEL;
            multiply_panel<FLOAT32>(
                of_window + size_t(first) * hidden, hidden, count, layer.mean_query + weight, hidden,
                [&](int r, auto& y) { store_rows<FLOAT32>(queries.words() + r * PANEL, PANEL, y); });
            keys_as_panels(of_window, buckets, hidden, layer.mean_key + weight, keys.floats());
            for (int panel = 0; panel < panels; panel++)
                multiply_panel<FLOAT32>(queries.words(), PANEL, count, keys.words() + panel * PANEL * PANEL, PANEL,
                                        [&](int r, auto& y) {
                                            Word* to = scores.words() + (r * panels + panel) * PANEL;
                                            store_rows<FLOAT32>(to, panels * PANEL, y);
                                        });
            for (int r = 0; r < count; r++) {
                const float* score = scores.floats() + r * panels * PANEL;
                const int best = index_of_largest(score, buckets);
                const size_t at = (size_t(window) * count + r) * sinkhorn_heads + head;
                chosen[at] = window * buckets + best;
                probability[at] = probability_of_largest(score, buckets, score[best]);
                if (gaps) gaps[window] = gap_to_next(score, buckets, best, gaps[window]);
            }
        }
    }
}

}  // namespace
}  // namespace sptx::kernels
