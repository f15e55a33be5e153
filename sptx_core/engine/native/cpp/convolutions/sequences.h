// Where the positions of a sequence are (Sequence in arguments.h). Needs no instruction set.

#pragma once

#include "../arguments.h"
#include "../ops/vectors.h"

namespace sptx::kernels {
namespace {

// Position p of what is given, `size` channels; null stands for zeros. Positions at and beyond the last are zeros too.
INLINE const float* given_at(const Sequence& s, int64_t p, int size) {
    for (int i = 0; i < 3; p -= s.positions[i++])
        if (p < s.positions[i]) return s.given[i] ? s.given[i] + p * size : nullptr;
    return nullptr;
}

// Position p of what is added to the result, `size` channels; for sequences that something is added to.
INLINE const float* added_at(const Sequence& s, int64_t p, int size) {
    const bool second = p >= s.added_positions[0];
    return s.added[second] + (p - (second ? s.added_positions[0] : 0)) * size;
}

INLINE bool has_added(const Sequence& s) { return s.added[0] || s.added[1]; }

}  // namespace
}  // namespace sptx::kernels
