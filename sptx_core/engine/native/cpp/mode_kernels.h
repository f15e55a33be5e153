// The table of functions of a mode, for the source that is compiled for it.

#pragma once

#include "convolutions/convolution.h"
#include "convolutions/linear_map.h"
#include "kernels.h"
#include "layers/layer.h"
#include "layers/projections.h"

namespace sptx::kernels {
namespace {

template <Mode M>
void convolve_or_map(const Convolution& convolution, const Sequence& sequence) {
    if (convolution.groups)
        convolve<M>(convolution, sequence);
    else
        map_positions<M>(convolution, sequence);
}

template <Mode M>
constexpr Kernels KERNELS = {project<M>, attend<M>, convolve_or_map<M>};

}  // namespace
}  // namespace sptx::kernels
