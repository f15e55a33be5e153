// The exported functions, called from Python by ctypes (library.py), which checks sizes; nothing here does.
//
// This source is compiled for any x86-64 processor: `sptx_features` says which modes can be used here, and only the
// functions of those modes may be called. The modes themselves are in sources of their own, which have the
// instructions that they need (setup.py): float32.cpp, bfloat16.cpp and matrix_units.cpp.
//
// Any thread may call these functions, several at a time as long as no two write the same memory. Memory is the
// caller's. Layouts are in arguments.h and kernels.h.

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "kernels.h"
#include "threads.h"

using namespace sptx;

namespace {

enum Feature { HAS_FLOAT32 = 1, HAS_BFLOAT16 = 2, HAS_MATRIX_UNITS = 4 };  // as in library.py

constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;  // of Linux, asm/prctl.h

const Kernels& kernels_of(int mode) {
    switch (mode) {
        case FLOAT32:
            return FLOAT32_KERNELS;
        case BFLOAT16:
            return BFLOAT16_KERNELS;
        case MATRIX_FLOAT32:
            return MATRIX_FLOAT32_KERNELS;
        case MATRIX_BFLOAT16:
            return MATRIX_BFLOAT16_KERNELS;
    }
    std::abort();
}

// Bits of leaf 7 of CPUID.
constexpr unsigned AVX512_BF16 = 1u << 5;                     // EAX of subleaf 1
constexpr unsigned AMX_BF16 = 1u << 22, AMX_TILE = 1u << 24;  // EDX of subleaf 0

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

// The checksum of the sources that this was compiled from (sources.py).
EXPORTED unsigned sptx_source() { return SPTX_SOURCE; }

// The modes that can be used here, a sum of Feature. This process is given leave to use the matrix units, which it
// needs before it uses them; Linux refuses it while a thread has a stack for signals too small for their state.
EXPORTED int sptx_features() {
    unsigned a, b, c, d;
    int found = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        found |= HAS_FLOAT32;
    if ((found & HAS_FLOAT32) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX512_BF16)) found |= HAS_BFLOAT16;
    if ((found & HAS_BFLOAT16) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
        !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA))
        found |= HAS_MATRIX_UNITS;
    return found;
}

// See Kernels::project.
EXPORTED void sptx_project(int mode, const Layer* layer, const float* x, const int32_t* buckets, const int32_t* wanted,
                           int count, int products, Word* blocks, float* means) {
    kernels_of(mode).project(*layer, x, buckets, wanted, count, products, blocks, means);
}

// See choose_buckets.
EXPORTED void sptx_choose(const Layer* layer, const float* means, int windows, int buckets, int first, int count,
                          int32_t* chosen, float* probability, float* gaps) {
    choose_buckets(*layer, means, windows, buckets, first, count, chosen, probability, gaps);
}

// See Kernels::attend.
EXPORTED void sptx_attend(int mode, const Layer* layer, float* x, const Word* blocks, int first, int count,
                          int in_window, const int32_t* chosen, const float* probability) {
    kernels_of(mode).attend(*layer, x, blocks, first, count, in_window, chosen, probability);
}

// Sequences [steps][count]: convolution s of `convolutions` [steps] for those of step s. The sequences of one column
// are done one after the other, so that a later one can read what an earlier one wrote; column i by thread i % threads.
EXPORTED void sptx_convolve(int mode, const Convolution* const* convolutions, const Sequence* sequences, int steps,
                            int count, int threads) {
    const Kernels& kernels = kernels_of(mode);
    share_columns(count, threads, [&](int column) {
        for (int step = 0; step < steps; step++)
            kernels.convolve(*convolutions[step], sequences[step * count + column]);
    });
}
