// A linear map of each position of a sequence, added to what lies there. No groups, bias, norm or ReLU.
//
// Needs what the mode needs (../ops/products.h). Any thread may call `map_positions` with a result of its own.

#pragma once

#include "../ops/products.h"
#include "../ops/scratch.h"
#include "sequences.h"

namespace sptx::kernels {
namespace {

constexpr int MAPPED = 64;  // positions at a time

// result = added + positions times weight [panels][words of `in`][PANEL]; all positions are given, and added to.
template <Mode M>
void map_positions(const Convolution& c, const Sequence& s) {
    const Setup<M> setup;
    const int in = c.in, words = words_of<M>(in);
    const Scratch operands(sizeof(Word) * MAPPED * words);
    for (int64_t first = 0; first < s.length; first += MAPPED) {
        const int count = int(smaller<int64_t>(MAPPED, s.length - first));
        const float* added[MAPPED];
        for (int r = 0; r < count; r++) {
            as_operands<M>(given_at(s, first + r, in), in, operands.words() + r * words);
            added[r] = added_at(s, first + r, c.out);
        }
        multiply_panels<M>(operands.words(), words, count, c.weight, words * PANEL, words, c.out / PANEL,
                           [&](int panel, int row, auto& y) {
                               UNROLLED_FOR (int i = 0; i < ROWS_IN<decltype(y)>; i++) {
                                   const float* from = added[row + i] + panel * PANEL;
                                   const int64_t p = first + row + i;
                                   float* to = s.result + p * c.out + panel * PANEL;
                                   if (p + MAPPED < s.length) {
                                       prefetch(added_at(s, p + MAPPED, c.out) + panel * PANEL, PANEL);
                                       prefetch(to + MAPPED * c.out, PANEL);
                                   }
                                   _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(from), y[i][0]));
                                   _mm512_storeu_ps(to + 16, _mm512_add_ps(_mm512_loadu_ps(from + 16), y[i][1]));
                               }
                           });
    }
}

}  // namespace
}  // namespace sptx::kernels
