// The structures that Python fills in (weights.py, library.py), with the layouts of what they point to.
//
// Sizes are checked in Python: `hidden`, `inner`, `in` and `out` are multiples of 32 and `hidden` is 32 * `heads`.
// Memory belongs to the caller; functions read it during a call and keep no pointer to it. Panels of weights are
// [panels][words of the input channels][32 output channels] in the mode of the call (modes.h); everything else is
// float32. Any number of threads may read one structure.

#pragma once

#include "modes.h"

namespace sptx {

constexpr int MAX_HEADS = 32;    // as in library.py: fewer heads than a word has bits
constexpr int MAX_THREADS = 64;  // as in library.py

struct Norm {
    const float *weight, *bias;  // [hidden]
    float epsilon;
};

// An attention layer and the feed-forward after it. The first `local_heads` heads attend to their own bucket and to
// the one on either side; the others, the Sinkhorn heads, to one that they choose and to their own.
struct Layer {
    Norm attention_norm, feed_forward_norm;
    const Word* project;                // panels of the queries of each head, then of the keys, then of the values
    const Word* output;                 // panels [hidden -> hidden]
    const Word *expand, *contract;      // panels [hidden -> inner] and [inner -> hidden]
    const Word *mean_query, *mean_key;  // panels in FLOAT32 of each Sinkhorn head, for means
    const float *output_bias, *expand_bias, *contract_bias;
    int hidden, heads, local_heads, inner;
};

// What `project` computes of a bucket, as a sum: the mean of its normed positions; queries, keys and values of all
// heads; the keys alone of those Sinkhorn heads that are wanted.
enum Products { MEANS = 1, EVERYTHING = 2, SINKHORN_KEYS = 4 };

// A convolution; its taps go in groups of four, each as its values at POINTS points (convolutions/toom_cook.h). With
// no groups, a linear map of each position, whose weight is [panels][words of `in`][32].
struct Convolution {
    const Word* weight;          // [POINTS][panels][groups][words of `in`][32]
    const Word* last;            // [panels][words of `in`][32], of a last tap that is in no group; null: there is none
    const float* bias;           // [out]
    const float *scale, *shift;  // [in], of the norm before it, which a ReLU follows; null: there is none
    int in, out, groups, dilation, relu;
    float leak;  // what either ReLU leaves of negative values
};

// Where a sequence lies. Its positions lie in order in up to three parts (null: zeros, which norm and ReLU leave zero),
// what is added to the result in up to two, and `length` positions of the result follow one another.
struct Sequence {
    const float* given[3];  // each [positions][in]
    int64_t positions[3];
    const float* added[2];  // each [added_positions][out]
    int64_t added_positions[2];
    float* result;  // [length][out]
    int64_t length;
};

static_assert(sizeof(Layer) == 6 * 8 + 9 * 8 + 4 * 4, "weights.py has the same fields");
static_assert(sizeof(Convolution) == 5 * 8 + 6 * 4, "weights.py has the same fields");
static_assert(sizeof(Sequence) == 12 * 8, "library.py has the same columns");

}  // namespace sptx
