// The first half of a layer: norm, means of buckets, and queries, keys and values as head blocks (head_blocks.h).
//
// Needs what the mode needs (../ops/products.h). Any thread may call `project` with blocks and means of its own.

#pragma once

#include "../ops/layer_norm.h"
#include "../ops/products.h"
#include "../ops/scratch.h"
#include "head_blocks.h"

namespace sptx::kernels {
namespace {

// Buckets that go through a layer's weights together: the matrix units are so fast that weights, which come from the
// second cache, must serve many rows.
template <Mode M>
constexpr int BUCKETS_AT_ONCE = by_matrix_units(M) ? 4 : 1;

// Mean over positions of y [BUCKET][hidden] to `mean` [hidden].
INLINE void mean_of_bucket(const float* y, int hidden, float* mean) {
    for (int c = 0; c < hidden; c += 16) {
        __m512 sum = _mm512_setzero_ps();
        for (int p = 0; p < BUCKET; p++) sum = _mm512_add_ps(sum, _mm512_loadu_ps(y + p * hidden + c));
        _mm512_storeu_ps(mean + c, _mm512_mul_ps(sum, _mm512_set1_ps(1.0f / BUCKET)));
    }
}

// Lays some rows y of a panel of projections, positions from p on, into the head blocks `own` of their bucket. Keys and
// values gather in `block`, from which they are laid out once the bucket's last row is there.
template <Mode M, int R>
INLINE void store_projections(const Layer& layer, int panel, int p, const __m512 (&y)[R][2], Word* block, Word* own) {
    constexpr int words = words_of<M>(PANEL);
    const int heads = layer.heads;
    const bool queries = panel < heads, values = panel >= 2 * heads;
    Word* to = own + panel * HEAD_BLOCK<M>;
    store_rows<M>((queries ? to : block) + p * words, words, y);
    prefetch(to + HEAD_BLOCK<M> + p * words, R * words);  // of the next panel
    if (p + R < BUCKET || queries) return;
    if (!values) by_word<M>(block, to);
    if (values) as_panel<M>(block, to);
    if (!values && panel >= heads + layer.local_heads)
        as_panel<M>(block, own + (panel + 2 * heads - layer.local_heads) * HEAD_BLOCK<M>);
}

// See Kernels::project.
template <Mode M>
void project(const Layer& layer, const float* x, const int32_t* buckets, const int32_t* wanted, int count, int products,
             Word* blocks, float* means) {
    const Setup<M> setup;
    const int hidden = layer.hidden, heads = layer.heads, words = words_of<M>(hidden);
    const int at_once = products & SINKHORN_KEYS ? 1 : BUCKETS_AT_ONCE<M>;  // each may want keys of other heads
    const Scratch normed(sizeof(float) * BUCKET * hidden), operands(sizeof(Word) * at_once * BUCKET * words);
    alignas(64) Word block[HEAD_BLOCK<M>];
    for (int begin = 0; begin < count; begin += at_once) {
        const int group = smaller(at_once, count - begin);
        const auto bucket_of = [&](int i) { return size_t(buckets ? buckets[begin + i] : begin + i); };
        for (int i = 0; i < group; i++) {
            float* y = normed.floats();
            for (int p = 0; p < BUCKET; p += NORM_ROWS)
                normalise(x + (bucket_of(i) * BUCKET + p) * hidden, hidden, layer.attention_norm, y + p * hidden);
            if (products & MEANS) mean_of_bucket(y, hidden, means + bucket_of(i) * hidden);
            if (products & (EVERYTHING | SINKHORN_KEYS))
                as_operands<M>(y, BUCKET * hidden, operands.words() + i * BUCKET * words);
        }
        const auto project_panels = [&](int first_panel, int panels) {
            multiply_panels<M>(operands.words(), words, group * BUCKET,
                               layer.project + size_t(first_panel) * words * PANEL, words * PANEL, words, panels,
                               [&](int panel, int row, auto& y) {
                                   Word* own = blocks + bucket_of(row / BUCKET) * head_blocks(layer) * HEAD_BLOCK<M>;
                                   store_projections<M>(layer, first_panel + panel, row % BUCKET, y, block, own);
                               });
        };
        if (products & EVERYTHING)
            project_panels(0, 3 * heads);
        else if (products & SINKHORN_KEYS)
            for (int head = 0; head < heads - layer.local_heads; head++)
                if (wanted[begin] >> head & 1) project_panels(heads + layer.local_heads + head, 1);
    }
}

}  // namespace
}  // namespace sptx::kernels
