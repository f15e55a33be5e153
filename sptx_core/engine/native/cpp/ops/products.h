// Products of rows and several panels, in any mode: by vectors (vector_products.h) or by tiles (tile_products.h).
//
// Needs what the mode needs; in modes of the matrix units a TileRegisters lives on the calling thread.

#pragma once

#include "tile_products.h"
#include "vector_products.h"

namespace sptx::kernels {
namespace {

// As multiply_panels. While the matrix units compute one block of rows, vectors finish the block before.
template <Mode M, class Finish>
INLINE void multiply_panels_by_tiles(const Word* a, long pitch, int rows, const Word* b, long panel_pitch, int words,
                                     int panels, Finish finish) {
    alignas(64) float sums[2][BLOCK_ROWS * PANEL];
    int at = 0;                                                // of `sums`, the one that is computed next
    int panel_before = 0, first_before = 0, row = 0, end = 0;  // the block before: rows [row, end) are not finished
    constexpr int at_once = larger(1, FINISHED_ROWS / STEP_PRODUCTS<M>);  // rows
    const int slots = words / STEP_WORDS<M> * STEP_PRODUCTS<M>;           // calls of meanwhile() for a block
    const int times_a_slot = larger(1, BLOCK_ROWS / at_once / slots);
    const auto finish_some = [&](int times) {
        const auto finish_next = [&](auto size) {
            constexpr int R = decltype(size)::value;
            __m512 y[R][2];
            UNROLLED_FOR (int r = 0; r < R; r++) {
                y[r][0] = _mm512_load_ps(sums[at ^ 1] + (row + r) * PANEL);
                y[r][1] = _mm512_load_ps(sums[at ^ 1] + (row + r) * PANEL + 16);
            }
            finish(panel_before, first_before + row, y);
            row += R;
        };
        for (; times && row + at_once <= end; times--) finish_next(std::integral_constant<int, at_once>{});
        for (; times && row < end; times--) finish_next(std::integral_constant<int, 1>{});
    };
    for (int panel = 0; panel < panels; panel++)
        for (int first = 0; first < rows; first += BLOCK_ROWS) {
            clear_sums();
            accumulate_tiles<M>(a + first * pitch, pitch, b + panel * panel_pitch, words,
                                [&] { finish_some(times_a_slot); });
            finish_some(BLOCK_ROWS);
            store_sums(sums[at]);
            at ^= 1, panel_before = panel, first_before = first, row = 0, end = smaller(BLOCK_ROWS, rows - first);
        }
    finish_some(BLOCK_ROWS);
}

// Multiplies a [rows][words], rows `pitch` words apart, by panels b, each `panel_pitch` words after the one before.
// finish(panel, row, sums [R][2]) gets columns 0 ... 15 and 16 ... 31 of R rows from `row` on, R at most FINISHED_ROWS;
// of each panel, rows come in order. In modes of the matrix units `a` must have memory, whatever is in it, up to a
// whole number of BLOCK_ROWS.
template <Mode M, class Finish>
INLINE void multiply_panels(const Word* a, long pitch, int rows, const Word* b, long panel_pitch, int words, int panels,
                            Finish finish) {
    if constexpr (by_matrix_units(M)) {
        multiply_panels_by_tiles<M>(a, pitch, rows, b, panel_pitch, words, panels, finish);
    } else {
        for (int panel = 0; panel < panels; panel++)
            multiply_panel<M>(a, pitch, rows, b + panel * panel_pitch, words,
                              [&](int row, auto& sums) { finish(panel, row, sums); });
    }
}

}  // namespace
}  // namespace sptx::kernels
