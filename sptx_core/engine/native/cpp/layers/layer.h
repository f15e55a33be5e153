// The second half of a layer: attention, output projection and feed-forward, added to the residual stream in place.
//
// Needs what the mode needs (../ops/products.h). Any thread may call `attend` with buckets of its own.

#pragma once

#include "../ops/scratch.h"
#include "feed_forward.h"
#include "projections.h"
#include "tile_attention.h"

namespace sptx::kernels {
namespace {

template <Mode M, int N>
struct HeadList {
    Head<N> heads[BUCKETS_AT_ONCE<M> * MAX_HEADS];
    int count = 0;
    void add(const Head<N>& head) { heads[count++] = head; }
};

template <Mode M, bool Weighted, int N>
INLINE void attend_heads(const HeadList<M, N>& list, long pitch) {
    if constexpr (by_matrix_units(M)) {
        if (list.count) attend_heads_by_tiles<M, N, Weighted>(list.heads, list.count, pitch);
    } else {
        for (int i = 0; i < list.count; i++) attend_head<M, N, Weighted>(list.heads[i], pitch);
    }
}

// The heads of some buckets by what they attend to: local heads of a window's only bucket, of one at its end and of one
// inside; Sinkhorn heads.
template <Mode M>
struct HeadLists {
    HeadList<M, 1> alone;
    HeadList<M, 2> at_end, sinkhorn;
    HeadList<M, 3> inside;
};

// Adds the heads of one bucket. `chosen` and `probability` [Sinkhorn heads] are its own; heads attend to `to`
// [BUCKET][words of hidden].
template <Mode M>
INLINE void add_heads(const Layer& layer, const Word* blocks, int bucket, int in_window, const int32_t* chosen,
                      const float* probability, Word* to, HeadLists<M>& lists) {
    const int heads = layer.heads, local = layer.local_heads;
    const long bucket_words = long(head_blocks(layer)) * HEAD_BLOCK<M>;
    const Word* own = blocks + bucket * bucket_words;
    const bool before = bucket % in_window > 0, after = bucket % in_window < in_window - 1;
    for (int h = 0; h < heads; h++, to += words_of<M>(PANEL)) {
        const Word* queries = own + h * HEAD_BLOCK<M>;
        const auto source = [&](const Word* at) {
            return Source{at + (heads + h) * HEAD_BLOCK<M>, at + (2 * heads + h) * HEAD_BLOCK<M>};
        };
        const auto beside = [&](int by) { return source(own + by * bucket_words); };
        if (h >= local) {
            const Word* other = blocks + chosen[h - local] * bucket_words;
            const Source keys_twice{other + (heads + h) * HEAD_BLOCK<M>,
                                    other + (3 * heads + h - local) * HEAD_BLOCK<M>};
            lists.sinkhorn.add({queries, {keys_twice, source(own)}, probability[h - local], to});
        } else if (before && after) {
            lists.inside.add({queries, {beside(-1), source(own), beside(1)}, 1, to});
        } else if (before || after) {
            lists.at_end.add({queries, {beside(before ? -1 : 1), source(own)}, 1, to});
        } else {
            lists.alone.add({queries, {source(own)}, 1, to});
        }
    }
}

// See Kernels::attend.
template <Mode M>
void attend(const Layer& layer, float* x, const Word* blocks, int first, int count, int in_window,
            const int32_t* chosen, const float* probability) {
    const Setup<M> setup;
    constexpr int at_once = BUCKETS_AT_ONCE<M>;
    const int hidden = layer.hidden, words = words_of<M>(hidden), sinkhorn_heads = layer.heads - layer.local_heads;
    const Scratch normed(sizeof(float) * NORM_ROWS * hidden), operands(sizeof(Word) * at_once * BUCKET * words);
    const Scratch expanded(sizeof(Word) * at_once * BUCKET * words_of<M>(columns_at_once<M>(layer)));
    for (int begin = first; begin < first + count; begin += at_once) {
        const int group = smaller(at_once, first + count - begin);
        HeadLists<M> lists;
        for (int i = 0; i < group; i++) {
            const size_t choice = size_t(begin + i - first) * sinkhorn_heads;
            add_heads<M>(layer, blocks, begin + i, in_window, chosen + choice, probability + choice,
                         operands.words() + i * BUCKET * words, lists);
        }
        attend_heads<M, false>(lists.alone, words);
        attend_heads<M, false>(lists.at_end, words);
        attend_heads<M, false>(lists.inside, words);
        attend_heads<M, true>(lists.sinkhorn, words);

        float* own = x + size_t(begin) * BUCKET * hidden;
        add_linear<M>(operands.words(), words, group * BUCKET, layer.output, words * PANEL, words, layer.output_bias,
                      hidden, own);
        feed_forward<M>(layer, own, group * BUCKET, normed.floats(), operands.words(), expanded.words());
    }
}

}  // namespace
}  // namespace sptx::kernels
