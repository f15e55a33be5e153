// The modes of computing, and how the operands of products lie in memory.
//
// A mode is a precision and the units that multiply: float32 or bfloat16, by vectors or by the matrix units (AMX). In
// bfloat16 the operands of products are bfloat16, rounded to nearest even; everything else, sums included, is float32.
//
// Operands lie in 32-bit words: one float32, or two bfloat16 that are neighbours in the summed dimension. The right
// side of a product lies in panels of 32 columns, [panels][words][32 columns], so that a word of the left side, spread
// over a register, meets 32 columns in two other registers.
//
// The matrix units know no float32. There a float32 is the sum of three bfloat16 (24 bits): 32 neighbouring values
// become a step of 48 words, 16 with the high parts, 16 with the middle parts and 16 with the low parts. Of the nine
// products of parts, the three that are below 2^-24 of the whole are left out. The units take values below 2^-126 for
// zero, so values below 2^-102 lose their low bits; values from 3.396e38 on, infinity included, become NaN.
//
// Nothing here needs an instruction set or memory; any thread may use it.

#pragma once

#include <cstdint>

namespace sptx {

enum Mode { FLOAT32, BFLOAT16, MATRIX_FLOAT32, MATRIX_BFLOAT16 };  // numbered as in library.py

using Word = uint32_t;

constexpr int PANEL = 32;   // columns of a panel; also the channels of an attention head
constexpr int BUCKET = 64;  // positions of a bucket

namespace {

constexpr bool by_matrix_units(Mode mode) { return mode == MATRIX_FLOAT32 || mode == MATRIX_BFLOAT16; }
constexpr bool in_float32(Mode mode) { return mode == FLOAT32 || mode == MATRIX_FLOAT32; }

// The number of bfloat16 whose sum is an operand of the matrix units.
template <Mode M>
constexpr int PARTS = M == MATRIX_FLOAT32 ? 3 : 1;

// Words that so many elements take, a multiple of 32 in all modes but FLOAT32.
template <Mode M>
constexpr int words_of(int elements) {
    return M == FLOAT32 ? elements : elements / 2 * PARTS<M>;
}

// A step of the matrix units: 32 elements of the summed dimension.
template <Mode M>
constexpr int STEP_WORDS = 16 * PARTS<M>;

// Products of parts in a step.
template <Mode M>
constexpr int STEP_PRODUCTS = PARTS<M> == 3 ? 6 : 1;

// Not those of <algorithm>: a function of the standard library that two sources instantiate for different instruction
// sets becomes one function of the library, compiled for either.
template <class T>
constexpr T smaller(T a, T b) {
    return b < a ? b : a;
}

template <class T>
constexpr T larger(T a, T b) {
    return a < b ? b : a;
}

}  // namespace
}  // namespace sptx
