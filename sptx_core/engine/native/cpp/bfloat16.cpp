// The mode BFLOAT16, compiled for AVX-512 with BF16.

#include "mode_kernels.h"

namespace sptx {

const Kernels BFLOAT16_KERNELS = kernels::KERNELS<BFLOAT16>;

}  // namespace sptx
