// Linear maps that add to the residual stream, and the feed-forward made of two of them.
//
// Needs what the mode needs (../ops/products.h); in modes of the matrix units a TileRegisters lives on the calling
// thread. Any thread may call these functions with rows and memory of its own.

#pragma once

#include "../arguments.h"
#include "../ops/activations.h"
#include "../ops/layer_norm.h"
#include "../ops/products.h"

namespace sptx::kernels {
namespace {

// Adds to x [rows][hidden] a product (multiply_panels) and a bias [hidden], null for none.
template <Mode M>
INLINE void add_linear(const Word* a, long pitch, int rows, const Word* weight, long panel_pitch, int words,
                       const float* bias, int hidden, float* x) {
    multiply_panels<M>(a, pitch, rows, weight, panel_pitch, words, hidden / PANEL, [&](int panel, int first, auto& y) {
        __m512 more[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        if (bias)
            UNROLLED_FOR (int z = 0; z < 2; z++) more[z] = _mm512_loadu_ps(bias + panel * PANEL + 16 * z);
        UNROLLED_FOR (int r = 0; r < ROWS_IN<decltype(y)>; r++)
            UNROLLED_FOR (int z = 0; z < 2; z++) {
                float* to = x + (first + r) * hidden + panel * PANEL + 16 * z;
                _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), _mm512_add_ps(y[r][z], more[z])));
            }
    });
}

// GELU of a product and its bias, as operands [rows][...], rows `to_pitch` words apart.
template <Mode M>
INLINE void expand(const Word* a, int rows, const Word* weight, int words, int panels, const float* bias, Word* to,
                   long to_pitch) {
    multiply_panels<M>(a, words, rows, weight, words * PANEL, words, panels, [&](int panel, int first, auto& y) {
        constexpr int R = ROWS_IN<decltype(y)>;
        const float* own = bias + panel * PANEL;
        __m512 z[2 * R];
        UNROLLED_FOR (int i = 0; i < 2 * R; i++)
            z[i] = _mm512_add_ps(y[i / 2][i % 2], _mm512_loadu_ps(own + i % 2 * 16));
        gelu<M>(z);
        UNROLLED_FOR (int r = 0; r < R; r++)
            store<M>(to + (first + r) * to_pitch + panel * words_of<M>(PANEL), z[2 * r], z[2 * r + 1]);
    });
}

// The matrix units expand and contract so many columns before the next ones: what lies between the two products then
// stays in the second cache.
constexpr int EXPANDED_COLUMNS = 256;

template <Mode M>
INLINE int columns_at_once(const Layer& layer) {
    return by_matrix_units(M) ? smaller(layer.inner, EXPANDED_COLUMNS) : layer.inner;
}

// Adds contract(GELU(expand(norm(x)))) to x [rows][hidden]. Scratch memory: `normed` [NORM_ROWS][hidden], `operands`
// [rows][words of hidden] and `expanded` [rows][words of columns_at_once]; rows of the last two are, in modes of the
// matrix units, rounded up to a multiple of BLOCK_ROWS.
template <Mode M>
INLINE void feed_forward(const Layer& layer, float* x, int rows, float* normed, Word* operands, Word* expanded) {
    const int hidden = layer.hidden, inner = layer.inner, words = words_of<M>(hidden);
    const int at_once = columns_at_once<M>(layer);
    const long expanded_pitch = words_of<M>(at_once);
    for (int r = 0; r < rows; r += NORM_ROWS) {
        normalise(x + r * hidden, hidden, layer.feed_forward_norm, normed);
        as_operands<M>(normed, NORM_ROWS * hidden, operands + r * words);
    }
    for (int from = 0; from < inner; from += at_once) {
        const int columns = smaller(at_once, inner - from);
        expand<M>(operands, rows, layer.expand + size_t(from) * words, words, columns / PANEL, layer.expand_bias + from,
                  expanded, expanded_pitch);
        add_linear<M>(expanded, expanded_pitch, rows, layer.contract + words_of<M>(from) * PANEL,
                      words_of<M>(inner) * PANEL, words_of<M>(columns), from ? nullptr : layer.contract_bias, hidden,
                      x);
    }
}

}  // namespace
}  // namespace sptx::kernels
