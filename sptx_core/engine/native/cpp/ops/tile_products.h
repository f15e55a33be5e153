// Products of matrices by the matrix units (AMX), in the modes MATRIX_FLOAT32 and MATRIX_BFLOAT16.
//
// A thread has eight tile registers of 16 rows of 16 words. Here registers 0 ... 3 hold the sums of 32 rows and 32
// columns: register 2 r + z has rows 16 r ... and columns 16 z ...; 4 + r holds rows of the left side and 6 + z columns
// of the right side. Layouts are those of modes.h; words of a product are a multiple of STEP_WORDS.
//
// Needs AMX with BF16 and a TileRegisters that lives on the calling thread. Numbers of registers are part of the
// instructions, so they stand here as digits.

#pragma once

#include <type_traits>

#include "vectors.h"

namespace sptx::kernels {
namespace {

constexpr int TILE_ROWS = 16;              // rows of a tile register
constexpr int BLOCK_ROWS = 2 * TILE_ROWS;  // rows of a product at a time

// Operand of LDTILECFG: eight registers of 16 rows of 64 bytes.
struct TileConfiguration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfiguration TILE_CONFIGURATION;

// The tile registers of the calling thread, for as long as this lives.
struct TileRegisters {
    TileRegisters() {
        const void* configuration = &TILE_CONFIGURATION;
        asm("" : "+r"(configuration));  // GCC's intrinsic admits to reading 8 bytes alone, which it may copy elsewhere
        _tile_loadconfig(configuration);
    }
    ~TileRegisters() { _tile_release(); }
    TileRegisters(const TileRegisters&) = delete;
    TileRegisters& operator=(const TileRegisters&) = delete;
};

struct [[maybe_unused]] NoRegisters {};

// What a thread sets up to compute products in a mode.
template <Mode M>
using Setup = std::conditional_t<by_matrix_units(M), TileRegisters, NoRegisters>;

// Makes the compiler write out what it holds in registers: it does not see that tiles are loaded from memory.
INLINE void flush_to_memory() { asm volatile("" ::: "memory"); }

INLINE void clear_sums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

// Sums [BLOCK_ROWS][PANEL] of float32 from memory.
INLINE void load_sums(const float* from) {
    flush_to_memory();
    _tile_loadd(0, from, PANEL * sizeof(float));
    _tile_loadd(1, from + 16, PANEL * sizeof(float));
    _tile_loadd(2, from + TILE_ROWS * PANEL, PANEL * sizeof(float));
    _tile_loadd(3, from + TILE_ROWS * PANEL + 16, PANEL * sizeof(float));
}

// Sums [BLOCK_ROWS][PANEL] of float32 to memory.
INLINE void store_sums(float* to) {
    _tile_stored(0, to, PANEL * sizeof(float));
    _tile_stored(1, to + 16, PANEL * sizeof(float));
    _tile_stored(2, to + TILE_ROWS * PANEL, PANEL * sizeof(float));
    _tile_stored(3, to + TILE_ROWS * PANEL + 16, PANEL * sizeof(float));
}

// Adds to the sums the product of a [BLOCK_ROWS][words], rows `pitch` words apart, and a panel b [words][PANEL].
// meanwhile() is work for the vector units, called STEP_PRODUCTS times a step.
template <Mode M, class Meanwhile>
INLINE void accumulate_tiles(const Word* a, long pitch, const Word* b, int words, Meanwhile meanwhile) {
    flush_to_memory();
    for (int k = 0; k < words; k += STEP_WORDS<M>) {
        const auto left = [&](int part) {
            _tile_loadd(4, a + k + 16 * part, pitch * sizeof(Word));
            _tile_loadd(5, a + TILE_ROWS * pitch + k + 16 * part, pitch * sizeof(Word));
        };
        const auto right = [&](int part) {
            _tile_loadd(6, b + (k + 16 * part) * PANEL, PANEL * sizeof(Word));
            _tile_loadd(7, b + (k + 16 * part) * PANEL + 16, PANEL * sizeof(Word));
        };
        const auto multiply = [] {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        };
        left(0), right(0), multiply(), meanwhile();
        if constexpr (PARTS<M> == 3) {  // in an order in which one side changes each time
            right(2), multiply(), meanwhile();
            right(1), multiply(), meanwhile();
            left(1), multiply(), meanwhile();
            right(0), multiply(), meanwhile();
            left(2), multiply(), meanwhile();
        }
    }
}

}  // namespace
}  // namespace sptx::kernels
