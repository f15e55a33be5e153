// What each mode offers to the exported functions. Each table is defined in a source of its own, compiled for the
// instructions that its mode needs (setup.py), so it may be called only where `sptx_features` names the mode.
//
// Any thread may call these functions, several at a time as long as no two write the same memory. A call allocates
// scratch memory alone, aborts the process where there is none, and in the modes of the matrix units takes over the
// tile registers of its thread until it returns.

#pragma once

#include "arguments.h"

namespace sptx {

struct Kernels {
    // Norms `count` buckets of positions x [buckets][64][hidden] and writes, as `products` says, the means of the
    // normed positions to `means` [buckets][hidden] and their projections to `blocks` [buckets][head blocks]
    // (layers/head_blocks.h). `buckets` [count] lists the buckets; null stands for the first ones. `wanted` [count],
    // for SINKHORN_KEYS alone, has for each of them a bit for each Sinkhorn head whose keys are wanted.
    void (*project)(const Layer& layer, const float* x, const int32_t* buckets, const int32_t* wanted, int count,
                    int products, Word* blocks, float* means);

    // Adds attention and feed-forward to x [buckets][64][hidden] of buckets [first, first + count). A window has
    // `in_window` buckets. `chosen` and `probability` [count][Sinkhorn heads] are from choose_buckets.
    void (*attend)(const Layer& layer, float* x, const Word* blocks, int first, int count, int in_window,
                   const int32_t* chosen, const float* probability);

    // Convolves a sequence, or maps each of its positions, as `convolution.groups` says.
    void (*convolve)(const Convolution& convolution, const Sequence& sequence);
};

extern const Kernels FLOAT32_KERNELS, BFLOAT16_KERNELS, MATRIX_FLOAT32_KERNELS, MATRIX_BFLOAT16_KERNELS;

// In float32 in all modes, by the instructions of FLOAT32: see layers/bucket_choice.h.
void choose_buckets(const Layer& layer, const float* means, int windows, int buckets, int first, int count,
                    int32_t* chosen, float* probability, float* gaps);

}  // namespace sptx
