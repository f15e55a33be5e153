// The modes MATRIX_FLOAT32 and MATRIX_BFLOAT16, compiled for AVX-512 with BF16 and for AMX with BF16.

#include "mode_kernels.h"

namespace sptx {

const Kernels MATRIX_FLOAT32_KERNELS = kernels::KERNELS<MATRIX_FLOAT32>;
const Kernels MATRIX_BFLOAT16_KERNELS = kernels::KERNELS<MATRIX_BFLOAT16>;

}  // namespace sptx
