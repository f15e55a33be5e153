// Scratch memory of a call: 64-byte aligned, uninitialised, freed when it goes out of scope.

#pragma once

#include <cstdlib>

#include "../modes.h"

namespace sptx::kernels {
namespace {

struct Scratch {
    // Aborts the process where there is no memory: exceptions are not compiled.
    explicit Scratch(size_t bytes) : memory(std::aligned_alloc(64, (bytes + 63) / 64 * 64)) {
        if (!memory) std::abort();
    }
    ~Scratch() { std::free(memory); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    float* floats() const { return static_cast<float*>(memory); }
    Word* words() const { return static_cast<Word*>(memory); }
    void* memory;
};

}  // namespace
}  // namespace sptx::kernels
