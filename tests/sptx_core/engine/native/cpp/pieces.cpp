// Pieces of the library's headers as functions that Python can call (ctypes): see conftest.py. Modes are numbers, as in
// modes.h; the modes of the matrix units run by emulated_tiles.h.

#include <pthread.h>

#include <cstddef>

#include "convolutions/sequences.h"
#include "convolutions/toom_cook.h"
#include "kernels.h"
#include "layers/attention.h"
#include "layers/bucket_choice.h"
#include "layers/feed_forward.h"
#include "layers/head_blocks.h"
#include "layers/layer.h"
#include "ops/activations.h"
#include "ops/layer_norm.h"
#include "ops/products.h"
#include "ops/scratch.h"
#include "threads.h"

using namespace sptx;
using namespace sptx::kernels;

// What native.cpp needs of the modes that are not emulated, and which are not run here.
namespace sptx {
const Kernels FLOAT32_KERNELS = {}, BFLOAT16_KERNELS = {};
void choose_buckets(const Layer& layer, const float* means, int windows, int buckets, int first, int count,
                    int32_t* chosen, float* probability, float* gaps) {
    choose(layer, means, windows, buckets, first, count, chosen, probability, gaps);
}
}  // namespace sptx

namespace {

template <Mode M>
using InMode = std::integral_constant<Mode, M>;

// f(InMode<mode>).
template <class F>
void in_mode(int mode, F f) {
    if (mode == FLOAT32) f(InMode<FLOAT32>{});
    if (mode == BFLOAT16) f(InMode<BFLOAT16>{});
    if (mode == MATRIX_FLOAT32) f(InMode<MATRIX_FLOAT32>{});
    if (mode == MATRIX_BFLOAT16) f(InMode<MATRIX_BFLOAT16>{});
}

template <int N>
using Count = std::integral_constant<int, N>;

// Attention of one head to N sources, weighted where `weighted`.
template <Mode M, int N>
void attend_one(const Word* queries, const Word* const* keys, const Word* const* values, bool weighted, float weight,
                Word* to, long pitch) {
    HeadList<M, N> list;
    Head<N> head{queries, {}, weight, to};
    for (int n = 0; n < N; n++) head.sources[n] = {keys[n], values[n]};
    list.add(head);
    list.add(head);  // twice, so that tiles go from one head to the next
    const Setup<M> setup;
    if (weighted)
        attend_heads<M, true>(list, pitch);
    else
        attend_heads<M, false>(list, pitch);
}

}  // namespace

extern "C" {

// modes.h

int words(int mode, int elements) {
    int result = 0;
    in_mode(mode, [&](auto m) { result = words_of<m>(elements); });
    return result;
}

// arguments.h: places of the fields in bytes

void layer_offsets(int* to) {
    const int offsets[] = {
        offsetof(Layer, attention_norm), offsetof(Layer, feed_forward_norm),
        offsetof(Layer, project),        offsetof(Layer, output),
        offsetof(Layer, expand),         offsetof(Layer, contract),
        offsetof(Layer, mean_query),     offsetof(Layer, mean_key),
        offsetof(Layer, output_bias),    offsetof(Layer, expand_bias),
        offsetof(Layer, contract_bias),  offsetof(Layer, hidden),
        offsetof(Layer, heads),          offsetof(Layer, local_heads),
        offsetof(Layer, inner),
    };
    std::memcpy(to, offsets, sizeof(offsets));
}

void convolution_offsets(int* to) {
    const int offsets[] = {
        offsetof(Convolution, weight), offsetof(Convolution, last),   offsetof(Convolution, bias),
        offsetof(Convolution, scale),  offsetof(Convolution, shift),  offsetof(Convolution, in),
        offsetof(Convolution, out),    offsetof(Convolution, groups), offsetof(Convolution, dilation),
        offsetof(Convolution, relu),   offsetof(Convolution, leak),
    };
    std::memcpy(to, offsets, sizeof(offsets));
}

void sequence_offsets(int* to) {
    const int offsets[] = {
        offsetof(Sequence, given),  offsetof(Sequence, positions),
        offsetof(Sequence, added),  offsetof(Sequence, added_positions),
        offsetof(Sequence, result), offsetof(Sequence, length),
        sizeof(Sequence),
    };
    std::memcpy(to, offsets, sizeof(offsets));
}

// ops/scratch.h

int misalignment(int bytes) {
    const Scratch scratch(bytes);
    std::memset(scratch.memory, 0, bytes);
    return reinterpret_cast<uintptr_t>(scratch.memory) % 64;
}

// ops/vectors.h

void operands(int mode, const float* x, int count, Word* to) {
    in_mode(mode, [&](auto m) { as_operands<m>(x, count, to); });
}

void transpose(const Word* from, int pitch, Word* to, int to_pitch) { transpose16(from, pitch, to, to_pitch); }

// ops/activations.h

void power_of_2(int mode, float* x) {
    in_mode(mode, [&](auto m) {
        __m512 y[2] = {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)};
        kernels::exp2<m>(y);
        _mm512_storeu_ps(x, y[0]), _mm512_storeu_ps(x + 16, y[1]);
    });
}

void gelu_of(int mode, float* x) {
    in_mode(mode, [&](auto m) {
        __m512 y[2] = {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)};
        gelu<m>(y);
        _mm512_storeu_ps(x, y[0]), _mm512_storeu_ps(x + 16, y[1]);
    });
}

// ops/layer_norm.h

void layer_norm(const float* x, int size, const float* weight, const float* bias, float epsilon, float* y) {
    normalise(x, size, {weight, bias, epsilon}, y);
}

// ops/vector_products.h: y [rows][32]

void by_vectors(int mode, const Word* a, int pitch, int rows, const Word* b, int words, float* y) {
    in_mode(mode, [&](auto m) {
        if constexpr (!by_matrix_units(m))
            multiply_panel<m>(a, pitch, rows, b, words, [&](int row, auto& sums) {
                for (int r = 0; r < ROWS_IN<decltype(sums)>; r++)
                    for (int z = 0; z < 2; z++) _mm512_storeu_ps(y + (row + r) * PANEL + 16 * z, sums[r][z]);
            });
    });
}

// ops/tile_products.h: sums [32][32] += a times b; how often there was time for the vector units

int by_tiles(int mode, const Word* a, int pitch, const Word* b, int words, int from_zero, float* sums) {
    int times = 0;
    in_mode(mode, [&](auto m) {
        if constexpr (by_matrix_units(m)) {
            const TileRegisters registers;
            if (from_zero)
                clear_sums();
            else
                load_sums(sums);
            accumulate_tiles<m>(a, pitch, b, words, [&] { times++; });
            store_sums(sums);
        }
    });
    return times;
}

int registers_are_in_use() { return emulated::configured; }

// ops/products.h: y [rows][panels * 32]; `order` [panels][rows], when each row was finished

void product(int mode, const Word* a, int pitch, int rows, const Word* b, int panel_pitch, int words, int panels,
             float* y, int* order) {
    int turn = 0;
    in_mode(mode, [&](auto m) {
        const Setup<m> setup;
        multiply_panels<m>(a, pitch, rows, b, panel_pitch, words, panels, [&](int panel, int row, auto& sums) {
            for (int r = 0; r < ROWS_IN<decltype(sums)>; r++) {
                order[panel * rows + row + r] = turn++;
                for (int z = 0; z < 2; z++)
                    _mm512_storeu_ps(y + ((row + r) * panels + panel) * PANEL + 16 * z, sums[r][z]);
            }
        });
    });
}

// layers/head_blocks.h

void head_block_by_word(int mode, const Word* from, Word* to) {
    in_mode(mode, [&](auto m) { by_word<m>(from, to); });
}

void head_block_as_panel(int mode, const Word* from, Word* to) {
    in_mode(mode, [&](auto m) { as_panel<m>(from, to); });
}

// layers/bucket_choice.h

int largest_of(const float* values, int count, float* probability) {
    const int best = index_of_largest(values, count);
    *probability = probability_of_largest(values, count, values[best]);
    return best;
}

// layers/attention.h and layers/tile_attention.h

void attention(int mode, int sources, const Word* queries, const Word* const* keys, const Word* const* values,
               int weighted, float weight, Word* to, int pitch) {
    in_mode(mode, [&](auto m) {
        if (sources == 1) attend_one<m, 1>(queries, keys, values, weighted, weight, to, pitch);
        if (sources == 2) attend_one<m, 2>(queries, keys, values, weighted, weight, to, pitch);
        if (sources == 3) attend_one<m, 3>(queries, keys, values, weighted, weight, to, pitch);
    });
}

// layers/feed_forward.h: `rows` is a multiple of 32

void feed_forward_of(int mode, const Layer* layer, float* x, int rows) {
    in_mode(mode, [&](auto m) {
        const Scratch normed(sizeof(float) * NORM_ROWS * layer->hidden);
        const Scratch operands(sizeof(Word) * rows * words_of<m>(layer->hidden));
        const Scratch expanded(sizeof(Word) * rows * words_of<m>(columns_at_once<m>(*layer)));
        const Setup<m> setup;
        feed_forward<m>(*layer, x, rows, normed.floats(), operands.words(), expanded.words());
    });
}

// convolutions/sequences.h: a position's place among floats from `base` on; -1 for zeros

long place_given(const Sequence* sequence, const float* base, int position, int size) {
    const float* at = given_at(*sequence, position, size);
    return at ? at - base : -1;
}

long place_added(const Sequence* sequence, const float* base, int position, int size) {
    return added_at(*sequence, position, size) - base;
}

// convolutions/toom_cook.h: [7][16] to [7][16], and to [4][16]

void toom_cook_values(const float* x, float* v) {
    __m512 in[POINTS], out[POINTS];
    for (int i = 0; i < POINTS; i++) in[i] = _mm512_loadu_ps(x + 16 * i);
    values_at_points(in, out);
    for (int i = 0; i < POINTS; i++) _mm512_storeu_ps(v + 16 * i, out[i]);
}

void toom_cook_outputs(const float* m, float* y) {
    __m512 in[POINTS], out[TAPS];
    for (int i = 0; i < POINTS; i++) in[i] = _mm512_loadu_ps(m + 16 * i);
    outputs_of_points(in, out);
    for (int i = 0; i < TAPS; i++) _mm512_storeu_ps(y + 16 * i, out[i]);
}

long first_position(long row, int dilation) { return position_of_row(row, dilation); }

// threads.h: of each column the thread that worked on it, and when, counted through all threads

void columns(int count, int threads, uint64_t* thread, int* turn) {
    int turns = 0;
    share_columns(count, threads, [&](int column) {
        thread[column] = pthread_self();
        turn[column] = __atomic_fetch_add(&turns, 1, __ATOMIC_SEQ_CST);
    });
}

uint64_t own_thread() { return pthread_self(); }

}  // extern "C"
