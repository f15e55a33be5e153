// A dilated convolution of one sequence by Toom-Cook (toom_cook.h), in one pass: a norm and ReLU before it as positions
// are read, bias, ReLU and what is added as results are written.
//
// Rows (toom_cook.h) go in chunks. A plane holds the operands of a chunk's rows, and of `halo` rows after it that its
// later groups of taps meet, for one point, [rows][words of `in`]; with a last tap that is in no group there are four
// planes more, of the positions themselves. Products of a plane and a panel of weights are [CHUNK][PANEL] of float32.
//
// Needs what the mode needs (../ops/products.h). Any thread may call `convolve` with a result of its own.

#pragma once

#include <cstring>

#include "../ops/scratch.h"
#include "../ops/tile_products.h"
#include "../ops/vector_products.h"
#include "sequences.h"
#include "toom_cook.h"

namespace sptx::kernels {
namespace {

constexpr int CHUNK = 128;        // rows that are transformed and multiplied together
constexpr int CACHED_GROUPS = 3;  // groups of taps whose weights, of one point and panel, stay in the first cache

// What is fixed while a sequence is convolved.
template <Mode M>
struct Geometry {
    Geometry(const Convolution& c, const Sequence& s)
        : words(words_of<M>(c.in)),
          panels(c.out / PANEL),
          halo((c.last ? c.groups : c.groups - 1) * c.dilation),
          planes(c.last ? POINTS + TAPS : POINTS),
          plane_words(size_t(CHUNK + halo) * words) {
        const int64_t d = c.dilation, span = TAPS * d, whole = s.length / span, left = s.length - whole * span;
        const int64_t end1 = s.positions[0], end2 = end1 + s.positions[1], end3 = end2 + s.positions[2];
        rows = whole * d + smaller(left, d);
        first_given = s.given[0] ? 0 : larger<int64_t>(0, (end1 - (POINTS - TAPS) * d) / span) * d;
        end_given = ((s.given[2] ? end3 : s.given[1] ? end2 : end1) / span + 1) * d;
    }
    int words, panels, halo, planes;
    size_t plane_words;
    int64_t rows;
    int64_t first_given, end_given;  // products of rows before and from these on are zero: no position of them is given
};

// The rows [begin, begin + rows) of a sequence.
struct Chunk {
    int64_t begin;
    int rows;
    const int64_t* places;  // the first position of each row
};

// The ReLU of a convolution, which may leak.
INLINE __m512 relu(const Convolution& c, __m512 x) {
    return _mm512_max_ps(c.leak ? _mm512_mul_ps(x, _mm512_set1_ps(c.leak)) : _mm512_setzero_ps(), x);
}

// Transforms 32 channels, from `channel` on, of one row: reads its positions x [POINTS], applies norm and ReLU where
// there are any, and writes the row's operands to all planes; those of the positions themselves only where `plain`.
template <Mode M>
INLINE void transform_channels(const Convolution& c, const float* const (&x)[POINTS], int channel, bool plain,
                               Word* row, size_t plane_words) {
    __m512 v[POINTS][2], own[TAPS][2];
    UNROLLED_FOR (int half = 0; half < 2; half++) {
        const int at16 = channel + 16 * half;
        __m512 y[POINTS];
        UNROLLED_FOR (int i = 0; i < POINTS; i++) {
            y[i] = x[i] ? _mm512_loadu_ps(x[i] + at16) : _mm512_setzero_ps();
            if (c.scale && x[i])
                y[i] = relu(c, _mm512_fmadd_ps(y[i], _mm512_loadu_ps(c.scale + at16), _mm512_loadu_ps(c.shift + at16)));
        }
        __m512 found[POINTS];
        values_at_points(y, found);
        UNROLLED_FOR (int i = 0; i < POINTS; i++) v[i][half] = found[i];
        UNROLLED_FOR (int i = 0; i < TAPS; i++) own[i][half] = y[i];
    }
    Word* to = row + words_of<M>(channel);
    UNROLLED_FOR (int i = 0; i < POINTS; i++) store<M>(to + i * plane_words, v[i][0], v[i][1]);
    if (plain)
        UNROLLED_FOR (int i = 0; i < TAPS; i++) store<M>(to + (POINTS + i) * plane_words, own[i][0], own[i][1]);
}

// Fills the planes `values` for a chunk and the halo after it. The chunk before has transformed the first `halo` rows
// already, so these are only moved.
template <Mode M>
INLINE void transform_chunk(const Convolution& c, const Sequence& s, const Geometry<M>& g, const Chunk& chunk,
                            Word* values) {
    if (chunk.begin)
        for (int i = 0; i < POINTS; i++)
            std::memmove(values + i * g.plane_words, values + i * g.plane_words + CHUNK * g.words,
                         sizeof(Word) * g.halo * g.words);
    for (int q = chunk.begin ? g.halo : 0; q < chunk.rows + g.halo; q++) {
        const int64_t position = position_of_row(chunk.begin + q, c.dilation);
        const float* x[POINTS];
        for (int i = 0; i < POINTS; i++) x[i] = given_at(s, position + int64_t(i) * c.dilation, c.in);
        for (int channel = 0; channel < c.in; channel += 32)
            transform_channels<M>(c, x, channel, c.last && q >= g.halo, values + size_t(q) * g.words, g.plane_words);
    }
}

// One plane and its weights for one panel. The sums run over groups of taps [from, to), whose weights lie
// `group_words` apart.
struct PlaneProduct {
    const Word* values;  // [rows][words of `in`]
    const Word* weight;
    size_t group_words;
    int from, to;
    float* sums;  // [CHUNK][PANEL]
};

// What is multiplied for one point or, from POINTS on, for the last tap and position `point - POINTS` of each row.
template <Mode M>
INLINE PlaneProduct plane_product(const Convolution& c, const Geometry<M>& g, int panel, int point, const Word* values,
                                  float* products) {
    const size_t group_words = size_t(g.words) * PANEL;
    values += point * g.plane_words, products += point * CHUNK * PANEL;
    if (point >= POINTS) return {values, c.last + panel * group_words, 0, c.groups, c.groups + 1, products};
    const Word* weight = c.weight + (size_t(point) * g.panels + panel) * c.groups * group_words;
    return {values, weight, group_words, 0, c.groups, products};
}

// Calls add(left, right) for those of groups [from, to) that meet a given position in one of `count` rows, from row
// `first` of a chunk on; the others add zeros.
template <Mode M, class Add>
INLINE void for_groups(const Geometry<M>& g, const PlaneProduct& p, int64_t begin, int dilation, int first, int count,
                       int from, int to, Add add) {
    const int64_t first_row = first + int64_t(from) * dilation;
    const Word *left = p.values + first_row * g.words, *right = p.weight + from * p.group_words;
    int64_t row = begin + first_row;
    for (int group = from; group < to; group++) {
        if (row + count > g.first_given && row < g.end_given) add(left, right);
        row += dilation, left += size_t(dilation) * g.words, right += p.group_words;
    }
}

// The products of a plane, by tiles. expect(row) is called once for each row while tiles are computed.
template <Mode M, class Expect>
INLINE void multiply_plane_by_tiles(const Geometry<M>& g, const PlaneProduct& p, const Chunk& chunk, int dilation,
                                    Expect expect) {
    constexpr int at_once = STEP_PRODUCTS<M> > 1 ? 1 : 4;  // rows expected in each turn of the vector units
    for (int part = p.from; part < p.to; part += CACHED_GROUPS)
        for (int first = 0; first < chunk.rows; first += BLOCK_ROWS) {
            float* sums = p.sums + first * PANEL;
            int next = first;
            if (part == p.from) clear_sums();
            if (part > p.from) load_sums(sums);
            for_groups<M>(g, p, chunk.begin, dilation, first, BLOCK_ROWS, part, smaller(p.to, part + CACHED_GROUPS),
                          [&](const Word* left, const Word* right) {
                              accumulate_tiles<M>(left, g.words, right, g.words, [&] {
                                  for (int i = 0; i < at_once && part == p.from && next < first + BLOCK_ROWS; i++)
                                      expect(next++);
                              });
                          });
            store_sums(sums);
        }
}

// The products of a plane, by vectors.
template <Mode M, class Expect>
INLINE void multiply_plane_by_vectors(const Geometry<M>& g, const PlaneProduct& p, const Chunk& chunk, int dilation,
                                      Expect expect) {
    const auto multiply = [&](auto size, int first) {
        constexpr int R = decltype(size)::value;
        for (int r = first; r < first + R; r++) expect(r);
        __m512 sums[R][2];
        clear(sums);
        for_groups<M>(g, p, chunk.begin, dilation, first, R, p.from, p.to,
                      [&](const Word* left, const Word* right) { accumulate<M>(left, g.words, right, g.words, sums); });
        UNROLLED_FOR (int r = 0; r < R; r++) {
            _mm512_store_ps(p.sums + (first + r) * PANEL, sums[r][0]);
            _mm512_store_ps(p.sums + (first + r) * PANEL + 16, sums[r][1]);
        }
    };
    int r = 0;
    for (; r + ROWS <= chunk.rows; r += ROWS) multiply(std::integral_constant<int, ROWS>{}, r);
    for (; r + 2 <= chunk.rows; r += 2) multiply(std::integral_constant<int, 2>{}, r);
    for (; r < chunk.rows; r++) multiply(std::integral_constant<int, 1>{}, r);
}

// The products of all planes of a chunk and one panel, [planes][CHUNK][PANEL].
template <Mode M>
INLINE void multiply_planes(const Convolution& c, const Sequence& s, const Geometry<M>& g, const Chunk& chunk,
                            int panel, const Word* values, float* products) {
    for (int point = 0; point < g.planes; point++) {
        // What write_outputs will read and write is on its way to the cache meanwhile.
        const auto expect = [&](int row) {
            const int64_t p = row < chunk.rows ? chunk.places[row] + int64_t(point) * c.dilation : s.length;
            if (point >= TAPS || p >= s.length) return;
            prefetch(s.result + p * c.out + panel * PANEL, PANEL);
            if (has_added(s)) prefetch(added_at(s, p, c.out) + panel * PANEL, PANEL);
        };
        const PlaneProduct product = plane_product(c, g, panel, point, values, products);
        if constexpr (by_matrix_units(M))
            multiply_plane_by_tiles<M>(g, product, chunk, c.dilation, expect);
        else
            multiply_plane_by_vectors<M>(g, product, chunk, c.dilation, expect);
    }
}

// Writes one panel of the outputs of a chunk from its products.
INLINE void write_outputs(const Convolution& c, const Sequence& s, const Chunk& chunk, int panel,
                          const float* products) {
    for (int r = 0; r < chunk.rows; r++)
        for (int half = 0; half < 2; half++) {
            const int at16 = panel * PANEL + 16 * half;
            const auto product = [&](int plane) {
                return _mm512_load_ps(products + (plane * CHUNK + r) * PANEL + 16 * half);
            };
            __m512 m[POINTS];
            UNROLLED_FOR (int i = 0; i < POINTS; i++) m[i] = product(i);
            const __m512 bias = _mm512_loadu_ps(c.bias + at16);
            __m512 y[TAPS];
            outputs_of_points(m, y);
            if (c.last)
                UNROLLED_FOR (int i = 0; i < TAPS; i++) y[i] = _mm512_add_ps(y[i], product(POINTS + i));
            for (int i = 0; i < TAPS; i++) {
                const int64_t p = chunk.places[r] + int64_t(i) * c.dilation;
                if (p >= s.length) break;
                __m512 z = _mm512_add_ps(y[i], bias);
                if (c.relu) z = relu(c, z);
                if (has_added(s)) z = _mm512_add_ps(z, _mm512_loadu_ps(added_at(s, p, c.out) + at16));
                _mm512_storeu_ps(s.result + p * c.out + at16, z);
            }
        }
}

// Convolves a sequence; `c.groups` is at least 1. Tap k of position p of the result reads position p + k * dilation of
// what is given.
template <Mode M>
void convolve(const Convolution& c, const Sequence& s) {
    const Setup<M> setup;
    const Geometry<M> g(c, s);
    int64_t places[CHUNK];
    const Scratch values(sizeof(Word) * g.planes * g.plane_words);
    const Scratch products(sizeof(float) * g.planes * CHUNK * PANEL);
    for (int64_t begin = 0; begin < g.rows; begin += CHUNK) {
        const Chunk chunk{begin, int(smaller<int64_t>(CHUNK, g.rows - begin)), places};
        for (int r = 0; r < chunk.rows; r++) places[r] = position_of_row(begin + r, c.dilation);
        transform_chunk<M>(c, s, g, chunk, values.words());
        for (int panel = 0; panel < g.panels; panel++) {
            multiply_planes<M>(c, s, g, chunk, panel, values.words(), products.floats());
            write_outputs(c, s, chunk, panel, products.floats());
        }
    }
}

}  // namespace
}  // namespace sptx::kernels
