// The mode FLOAT32 and the choice of buckets, compiled for AVX-512 (F, DQ, BW and VL).

#include "layers/bucket_choice.h"
#include "mode_kernels.h"

namespace sptx {

const Kernels FLOAT32_KERNELS = kernels::KERNELS<FLOAT32>;

void choose_buckets(const Layer& layer, const float* means, int windows, int buckets, int first, int count,
                    int32_t* chosen, float* probability, float* gaps) {
    kernels::choose(layer, means, windows, buckets, first, count, chosen, probability, gaps);
}

}  // namespace sptx
