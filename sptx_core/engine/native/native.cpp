// The network's costly parts for processors with AVX-512, each in one pass through the cache.
//
// Called from Python by ctypes (library.py), which checks sizes; nothing here does. A call allocates only scratch
// memory and uses the thread of its caller; convolutions may be shared by several. Two
// precisions, chosen by the mode that is the first argument of each function: float32, and bfloat16, where operands of
// products are bfloat16 (rounded to nearest even) and everything else, sums included, is float32.
//
// Operands of products are handled as 32-bit words: one float32, or two neighbouring bfloat16 of the summed dimension.
// A product's right side comes in panels of 32 columns, [panels][words][32], so that a word of the left side, spread
// over a register, meets 32 columns in two others. Eight rows at a time then keep 16 sums in registers.
//
// The matrix units know no float32. A float32 is there the sum of three bfloat16 (24 bits): of 32 neighbouring values come
// 16 words with the high parts, 16 with the middle and 16 with the low ones. Of the nine products of parts, the three that
// are below 2^-24 of the whole are left out. The units take what is below 2^-126 for zero, so of values below 2^-102 the
// low bits go; values from 3.396e38 on, infinity too, become NaN.

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

namespace {

// How products are computed: in float32 or bfloat16 by vectors, or by the matrix units (AMX).
enum Mode { FLOAT32, BFLOAT16, MATRIX_FLOAT32, MATRIX_BFLOAT16 };

constexpr bool by_tiles(Mode mode) { return mode == MATRIX_FLOAT32 || mode == MATRIX_BFLOAT16; }
constexpr bool in_float32(Mode mode) { return mode == FLOAT32 || mode == MATRIX_FLOAT32; }

using Word = uint32_t;
constexpr int PANEL = 32;   // columns of a panel, which is also the size of a head
constexpr int ROWS = 8;     // rows of a product at a time
constexpr int BUCKET = 64;  // positions of a bucket
constexpr int POINTS = 7;   // of Toom-Cook
constexpr int TAPS = 4;     // in a group, and positions in a row of its products
constexpr int TILE_ROWS = 16, BLOCK = 2 * TILE_ROWS;  // of the matrix units: rows of a tile, rows of a product at a time

struct Scratch {  // aligned memory that is freed at the end of a call
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

template <Mode M>
constexpr int PARTS = M == MATRIX_FLOAT32 ? 3 : 1;

template <Mode M>
constexpr int words_of(int elements) {
    return M == FLOAT32 ? elements : elements / 2 * PARTS<M>;
}

template <Mode M>
constexpr int STEP = 16 * PARTS<M>;  // words of a step of the matrix units

template <Mode M>
constexpr int TIMES = PARTS<M> == 3 ? 6 : 1;  // that a step multiplies tiles

// ---------------------------------------------------------------------------------------------- products

template <Mode M>
INLINE __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
    static_assert(!by_tiles(M));
    if constexpr (M == BFLOAT16)
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    else
        return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

// Adds to sums [R][Z * 16] the product of a [R][words], rows `pitch` words apart, and b [words][Z * 16].
template <Mode M, int R, int Z>
INLINE void product(const Word* a, long pitch, const Word* b, int words, __m512 (&sums)[R][Z]) {
    _Pragma("GCC unroll 8") for (int k = 0; k < words; k++) {
        __m512i right[Z];
        UNROLL for (int z = 0; z < Z; z++) right[z] = _mm512_loadu_si512(b + 16 * (Z * k + z));
        UNROLL for (int r = 0; r < R; r++) {
            const __m512i left = _mm512_set1_epi32(a[r * pitch + k]);
            UNROLL for (int z = 0; z < Z; z++) sums[r][z] = multiply_add<M>(sums[r][z], left, right[z]);
        }
    }
}

// The matrix units have eight tiles of 16 rows of 16 words. In tiles_product tile 2 r + z sums rows 16 r ... and columns
// 16 z ..., 4 + r holds rows of the left side and 6 + z columns of the right side.
struct TileLayout {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileLayout LAYOUT;

struct Nothing {};

struct Tiles {
    Tiles() { asm volatile("ldtilecfg %0" ::"m"(LAYOUT)); }
    ~Tiles() { _tile_release(); }
};

template <Mode M>
using Units = std::conditional_t<by_tiles(M), Tiles, Nothing>;  // what a thread needs to compute products

INLINE void clear_tiles() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

// Adds to the tiles the product of a [BLOCK][words], rows `pitch` words apart, and a panel b [words][PANEL];
// meanwhile() is work for the vector units beside each of TIMES a step.
template <Mode M, class Meanwhile>
INLINE void tiles_product(const Word* a, long pitch, const Word* b, int words, Meanwhile meanwhile) {
    asm volatile("" ::: "memory");  // which the compiler does not see that tiles are loaded from
    for (int k = 0; k < words; k += STEP<M>) {
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
        if constexpr (PARTS<M> == 3) {  // each time one side changes
            right(2), multiply(), meanwhile();
            right(1), multiply(), meanwhile();
            left(1), multiply(), meanwhile();
            right(0), multiply(), meanwhile();
            left(2), multiply(), meanwhile();
        }
    }
}

INLINE void load_tiles(const float* from) {
    asm volatile("" ::: "memory");
    _tile_loadd(0, from, PANEL * sizeof(float));
    _tile_loadd(1, from + 16, PANEL * sizeof(float));
    _tile_loadd(2, from + TILE_ROWS * PANEL, PANEL * sizeof(float));
    _tile_loadd(3, from + TILE_ROWS * PANEL + 16, PANEL * sizeof(float));
}

// The sums [BLOCK][PANEL].
INLINE void store_tiles(float* to) {
    _tile_stored(0, to, PANEL * sizeof(float));
    _tile_stored(1, to + 16, PANEL * sizeof(float));
    _tile_stored(2, to + TILE_ROWS * PANEL, PANEL * sizeof(float));
    _tile_stored(3, to + TILE_ROWS * PANEL + 16, PANEL * sizeof(float));
}

template <int R, int Z>
INLINE void clear(__m512 (&sums)[R][Z]) {
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int z = 0; z < Z; z++) sums[r][z] = _mm512_setzero_ps();
}

// done(row, sums [rows][2]), for one row or SOME at a time, of R.
constexpr int SOME = 4;

template <int R, class Done>
INLINE void done_with(int first, __m512 (&sums)[R][2], Done done) {
    constexpr int some = std::min(R, SOME);
    UNROLL for (int r = 0; r < R; r += some) {
        __m512 y[some][2];
        UNROLL for (int i = 0; i < some; i++) y[i][0] = sums[r + i][0], y[i][1] = sums[r + i][1];
        done(first + r, y);
    }
}

template <Mode M, int R, class Done>
INLINE void rows_of_panel(const Word* a, long pitch, const Word* b, int words, int first, Done done) {
    __m512 sums[R][2];
    clear(sums);
    product<M>(a + first * pitch, pitch, b, words, sums);
    done_with(first, sums, done);
}

// Rows of a times one panel; done(row, their sums [rows][2]: columns 0..15, columns 16..31).
template <Mode M, class Done>
INLINE void times_panel(const Word* a, long pitch, int rows, const Word* b, int words, Done done) {
    int r = 0;
    for (; r + ROWS <= rows; r += ROWS) rows_of_panel<M, ROWS>(a, pitch, b, words, r, done);
    for (; r < rows; r++) rows_of_panel<M, 1>(a, pitch, b, words, r, done);
}

// Rows of a times each of so many panels in turn, `panel_pitch` words apart; done(panel, row, sums). For matrix units a
// must have memory, whatever is in it, up to a whole number of blocks.
template <Mode M, class Done>
INLINE void times_panels(const Word* a, long pitch, int rows, const Word* b, long panel_pitch, int words, int panels,
                         Done done) {
    if constexpr (by_tiles(M)) {
        // While the matrix units compute one block, vectors finish the one before.
        alignas(64) float sums[2][BLOCK * PANEL];
        int panel_before = 0, first_before = 0, row = 0, end = 0, at = 0;
        constexpr int few = std::max(1, SOME / TIMES<M>);  // rows at a time
        const int slots = words / STEP<M> * TIMES<M>, each = std::max(1, BLOCK / few / slots);  // times few rows, in each
        const auto finish = [&](int times) {
            const auto rows_at = [&](auto size) {
                constexpr int R = decltype(size)::value;
                __m512 y[R][2];
                UNROLL for (int r = 0; r < R; r++) {
                    y[r][0] = _mm512_load_ps(sums[at ^ 1] + (row + r) * PANEL);
                    y[r][1] = _mm512_load_ps(sums[at ^ 1] + (row + r) * PANEL + 16);
                }
                done(panel_before, first_before + row, y);
                row += R;
            };
            for (; times && row + few <= end; times--) rows_at(std::integral_constant<int, few>{});
            for (; times && row < end; times--) rows_at(std::integral_constant<int, 1>{});
        };
        for (int panel = 0; panel < panels; panel++)
            for (int first = 0; first < rows; first += BLOCK) {
                clear_tiles();
                tiles_product<M>(a + first * pitch, pitch, b + panel * panel_pitch, words, [&] { finish(each); });
                finish(BLOCK);
                store_tiles(sums[at]);
                at ^= 1, panel_before = panel, first_before = first, row = 0, end = std::min(BLOCK, rows - first);
            }
        finish(BLOCK);
    } else {
        for (int panel = 0; panel < panels; panel++)
            times_panel<M>(a, pitch, rows, b + panel * panel_pitch, words,
                           [&](int r, auto& sums) { done(panel, r, sums); });
    }
}

// ---------------------------------------------------------------------------------------------- elements

INLINE __m512i to_bfloat16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

// Takes 32 values as bfloat16 out of them, which leaves what rounding left out, exactly.
INLINE __m512i take_bfloat16(__m512& low, __m512& high) {
    const __m512i part = to_bfloat16(low, high);
    const auto value = [](__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); };
    low = _mm512_sub_ps(low, value(_mm512_castsi512_si256(part)));
    high = _mm512_sub_ps(high, value(_mm512_extracti64x4_epi64(part, 1)));
    return part;
}

// 32 values as operands: 32 words, 16 of bfloat16, or 16 for each of three parts.
template <Mode M>
INLINE void store(Word* to, __m512 low, __m512 high) {
    if constexpr (M == MATRIX_FLOAT32) {
        _mm512_storeu_si512(to, take_bfloat16(low, high));
        _mm512_storeu_si512(to + 16, take_bfloat16(low, high));
        _mm512_storeu_si512(to + 32, to_bfloat16(low, high));
    } else if constexpr (M != FLOAT32) {
        _mm512_storeu_si512(to, to_bfloat16(low, high));
    } else {
        _mm512_storeu_ps(to, low);
        _mm512_storeu_ps(to + 16, high);
    }
}

// Functions of N vectors, step by step, so that the processor always has N things to do.

template <int N>
INLINE void polynomials(const __m512 (&x)[N], __m512 (&y)[N], std::initializer_list<float> coefficients) {
    const float* c = coefficients.begin();  // highest power first
    UNROLL for (int n = 0; n < N; n++) y[n] = _mm512_set1_ps(*c);
    while (++c < coefficients.end())
        UNROLL for (int n = 0; n < N; n++) y[n] = _mm512_fmadd_ps(y[n], x[n], _mm512_set1_ps(*c));
}

// 2^x for x <= 0. Polynomials of least relative error for 2^f, 0 <= f < 1: 8e-8, or 3e-6 for a result in bfloat16.
template <Mode M, int N>
INLINE void exp2(__m512 (&x)[N]) {
    __m512 f[N], y[N];
    UNROLL for (int n = 0; n < N; n++) f[n] = _mm512_reduce_ps(x[n], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    if constexpr (!in_float32(M))
        polynomials(f, y, {1.35341636e-2f, 5.20114688e-2f, 2.41442752e-1f, 6.93003835e-1f, 1.00000259f});
    else
        polynomials(
            f, y, {1.87757625e-3f, 8.98934112e-3f, 5.58263172e-2f, 2.40153617e-1f, 6.93153073e-1f, 9.99999925e-1f});
    UNROLL for (int n = 0; n < N; n++) x[n] = _mm512_scalef_ps(y[n], x[n]);  // times 2^floor(x)
}

// x times the normal distribution function, which is 1/2 + x N(x^2) / D(x^2), fitted by least squares: for float32 on
// |x| < 5.5, within 1e-6 of the exact value, as far as float32 itself takes it; for a result in bfloat16 on |x| < 4.5,
// within 2e-4. Beyond, the function keeps its last value, which is within 2e-8 (3e-5 in bfloat16) of 0 or 1.
template <Mode M, int N>
INLINE void gelu(__m512 (&x)[N]) {
    const __m512 end = _mm512_set1_ps(in_float32(M) ? 5.5f : 4.5f);
    const __m512 minus_end = _mm512_set1_ps(in_float32(M) ? -5.5f : -4.5f);
    __m512 near[N], square[N], over[N], under[N];
    UNROLL for (int n = 0; n < N; n++) near[n] = _mm512_max_ps(_mm512_min_ps(x[n], end), minus_end);
    UNROLL for (int n = 0; n < N; n++) square[n] = _mm512_mul_ps(near[n], near[n]);
    if constexpr (!in_float32(M)) {
        polynomials(square, over, {3.3336886e-05f, 3.8322216e-03f, 2.7383617e-02f, 3.9893289e-01f});
        polynomials(square, under, {1.1668131e-03f, 2.3806593e-02f, 2.3528513e-01f, 1.0000000e+00f});
        UNROLL for (int n = 0; n < N; n++) over[n] = _mm512_mul_ps(over[n], _mm512_rcp14_ps(under[n]));
    } else {
        polynomials(square, over,
                    {2.2215985e-8f, 6.5305344e-6f, 1.8284701e-4f, 4.7615524e-3f, 3.5141360e-2f, 3.9894199e-1f});
        polynomials(square, under, {1.1953837e-6f, 7.8605925e-5f, 1.9623749e-3f, 2.9398127e-2f, 2.5474992e-1f, 1.0f});
        UNROLL for (int n = 0; n < N; n++) over[n] = _mm512_div_ps(over[n], under[n]);
    }
    UNROLL for (int n = 0; n < N; n++)
        x[n] = _mm512_mul_ps(x[n], _mm512_fmadd_ps(near[n], over[n], _mm512_set1_ps(0.5f)));
}

struct Norm {
    const float *weight, *bias;
    float epsilon;
};

// LayerNorm of SOME rows, each of `size` values.
INLINE void normalise(const float* x, int size, const Norm& norm, float* y) {
    __m512 sum[SOME], squares[SOME], mean[SOME], scale[SOME];
    UNROLL for (int r = 0; r < SOME; r++) sum[r] = squares[r] = _mm512_setzero_ps();
    for (int i = 0; i < size; i += 16)
        UNROLL for (int r = 0; r < SOME; r++) sum[r] = _mm512_add_ps(sum[r], _mm512_loadu_ps(x + r * size + i));
    UNROLL for (int r = 0; r < SOME; r++) mean[r] = _mm512_set1_ps(_mm512_reduce_add_ps(sum[r]) / size);
    for (int i = 0; i < size; i += 16)
        UNROLL for (int r = 0; r < SOME; r++) {
            const __m512 v = _mm512_sub_ps(_mm512_loadu_ps(x + r * size + i), mean[r]);
            squares[r] = _mm512_fmadd_ps(v, v, squares[r]);
        }
    UNROLL for (int r = 0; r < SOME; r++)
        scale[r] = _mm512_set1_ps(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares[r]) / size + norm.epsilon));
    for (int i = 0; i < size; i += 16) {
        const __m512 weight = _mm512_loadu_ps(norm.weight + i), bias = _mm512_loadu_ps(norm.bias + i);
        UNROLL for (int r = 0; r < SOME; r++) {
            const __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + r * size + i), mean[r]), scale[r]);
            _mm512_storeu_ps(y + r * size + i, _mm512_fmadd_ps(v, weight, bias));
        }
    }
}

template <class Sums>
constexpr int ROWS_IN = std::extent_v<std::remove_reference_t<Sums>>;

// Rows of sums as operands, `pitch` words apart.
template <Mode M, int R>
INLINE void store_rows(Word* to, long pitch, const __m512 (&y)[R][2]) {
    UNROLL for (int r = 0; r < R; r++) store<M>(to + r * pitch, y[r][0], y[r][1]);
}

// What will be read (and written) soon, so that it is in the second cache by then.
INLINE void prefetch(const float* from, int count) {
    for (int i = 0; i < count; i += 16) __builtin_prefetch(from + i, 1, 2);
}

// Values as operands: [count], a multiple of 32.
template <Mode M>
INLINE void as_operands(const float* x, int count, Word* to) {
    for (int i = 0; i < count; i += 32)
        store<M>(to + words_of<M>(i), _mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16));
}

// 16 rows of 16 words, `pitch` apart -> 16 rows of 16 words, `to_pitch` apart.
INLINE void transpose16(const Word* from, int pitch, Word* to, int to_pitch) {
    __m512i a[16], b[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(from + i * pitch);
    UNROLL for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    // a[4 g + j] holds, in lane l of 128 bits, column 4 l + j of rows 4 g .. 4 g + 3.
    UNROLL for (int j = 0; j < 4; j++) {
        const __m512i low02 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88),
                      low13 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
        const __m512i high02 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
        const __m512i high13 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
        _mm512_storeu_si512(to + j * to_pitch, _mm512_shuffle_i32x4(low02, high02, 0x88));
        _mm512_storeu_si512(to + (4 + j) * to_pitch, _mm512_shuffle_i32x4(low13, high13, 0x88));
        _mm512_storeu_si512(to + (8 + j) * to_pitch, _mm512_shuffle_i32x4(low02, high02, 0xdd));
        _mm512_storeu_si512(to + (12 + j) * to_pitch, _mm512_shuffle_i32x4(low13, high13, 0xdd));
    }
}

// ---------------------------------------------------------------------------------------------- attention layers

struct Layer {
    Norm attention_norm, feed_forward_norm;
    const Word *project, *output, *expand, *contract;  // panels; of `project`: queries, keys, values, by head
    const Word *mean_query, *mean_key;                 // panels in float32, of the far heads
    const float *output_bias, *expand_bias, *contract_bias;
    int hidden, heads, near, inner;  // near: local heads, which come first
};

// What a bucket's positions become before attention, in tiles of BUCKET x PANEL: queries of each head by position;
// keys by word, [words][BUCKET]; values as a panel, [BUCKET words][PANEL]; keys of the far heads as a panel too.
template <Mode M>
constexpr int TILE = words_of<M>(BUCKET * PANEL);

INLINE int tiles_of_bucket(const Layer& layer) { return 4 * layer.heads - layer.near; }

// [BUCKET][PANEL] by position -> the left side transposed, [words][BUCKET].
template <Mode M>
INLINE void by_word(const Word* from, Word* to) {
    constexpr int words = words_of<M>(PANEL);
    for (int w = 0; w < words; w += 16)
        for (int p = 0; p < BUCKET; p += 16) transpose16(from + p * words + w, words, to + w * BUCKET + p, BUCKET);
}

// [BUCKET][PANEL] by position -> a panel, whose words hold two positions in bfloat16.
template <Mode M>
INLINE void as_panel(const Word* from, Word* to) {
    if constexpr (M == FLOAT32) {
        std::memcpy(to, from, BUCKET * PANEL * sizeof(Word));
    } else {
        alignas(64) uint16_t low[32], high[32];
        for (int i = 0; i < 16; i++) {
            low[2 * i] = i, low[2 * i + 1] = 32 + i;
            high[2 * i] = 16 + i, high[2 * i + 1] = 48 + i;
        }
        const __m512i lows = _mm512_load_si512(low), highs = _mm512_load_si512(high);
        for (int p = 0; p < BUCKET; p += 2)
            for (int part = 0; part < PARTS<M>; part++) {
                const Word* pair = from + p * STEP<M> + part * 16;
                const __m512i even = _mm512_loadu_si512(pair), odd = _mm512_loadu_si512(pair + STEP<M>);
                Word* row = to + (p / PANEL * STEP<M> + part * 16 + p % PANEL / 2) * PANEL;
                _mm512_storeu_si512(row, _mm512_permutex2var_epi16(even, lows, odd));
                _mm512_storeu_si512(row + 16, _mm512_permutex2var_epi16(even, highs, odd));
            }
    }
}

enum What { MEANS = 1, EVERYTHING = 2, FAR_KEYS = 4 };

// Buckets that go through a layer's weights together: the matrix units are so fast that the weights, which come from the
// second cache, must serve many rows.
template <Mode M>
constexpr int GROUP = by_tiles(M) ? 4 : 1;

// `wanted`: for FAR_KEYS a bit for each far head whose keys are wanted, of each bucket.
template <Mode M>
void project(const Layer& layer, const float* x, const int32_t* buckets, const int32_t* wanted, int count, int what,
             Word* tiles, float* means) {
    [[maybe_unused]] const Units<M> units;
    const int hidden = layer.hidden, heads = layer.heads, words = words_of<M>(hidden);
    const int most = what & FAR_KEYS ? 1 : GROUP<M>;  // of which different heads may be wanted
    const Scratch rows(sizeof(float) * BUCKET * hidden), operands(sizeof(Word) * most * BUCKET * words);
    alignas(64) Word tile[TILE<M>];
    for (int begin = 0; begin < count; begin += most) {
        const int group = std::min(most, count - begin);
        const auto bucket_of = [&](int i) { return size_t(buckets ? buckets[begin + i] : begin + i); };
        for (int i = 0; i < group; i++) {
            float* y = rows.floats();
            for (int p = 0; p < BUCKET; p += SOME)
                normalise(x + (bucket_of(i) * BUCKET + p) * hidden, hidden, layer.attention_norm, y + p * hidden);
            if (what & MEANS)
                for (int c = 0; c < hidden; c += 16) {
                    __m512 sum = _mm512_setzero_ps();
                    for (int p = 0; p < BUCKET; p++) sum = _mm512_add_ps(sum, _mm512_loadu_ps(y + p * hidden + c));
                    _mm512_storeu_ps(means + bucket_of(i) * hidden + c,
                                     _mm512_mul_ps(sum, _mm512_set1_ps(1.0f / BUCKET)));
                }
            if (what & (EVERYTHING | FAR_KEYS))
                as_operands<M>(y, BUCKET * hidden, operands.words() + i * BUCKET * words);
        }
        const auto some = [&](int from, int panels) {
            times_panels<M>(operands.words(), words, group * BUCKET, layer.project + size_t(from) * words * PANEL,
                            words * PANEL, words, panels, [&](int number, int first, auto& y) {
                                const int panel = from + number, p = first % BUCKET;
                                Word* own = tiles + bucket_of(first / BUCKET) * tiles_of_bucket(layer) * TILE<M>;
                                Word* to = own + panel * TILE<M>;
                                store_rows<M>((panel < heads ? to : tile) + p * words_of<M>(PANEL), words_of<M>(PANEL), y);
                                constexpr int R = ROWS_IN<decltype(y)>;
                                prefetch(reinterpret_cast<const float*>(to + TILE<M>) + p * words_of<M>(PANEL),
                                         R * words_of<M>(PANEL));
                                if (p + ROWS_IN<decltype(y)> < BUCKET || panel < heads) return;
                                if (panel < 2 * heads) by_word<M>(tile, to);
                                if (panel >= 2 * heads) as_panel<M>(tile, to);
                                if (panel < 2 * heads && panel >= heads + layer.near)
                                    as_panel<M>(tile, own + (panel + 2 * heads - layer.near) * TILE<M>);
                            });
        };
        if (what & EVERYTHING)
            some(0, 3 * heads);
        else if (what & FAR_KEYS)
            for (int head = 0; head < heads - layer.near; head++)
                if (wanted[begin] >> head & 1) some(heads + layer.near + head, 1);
    }
}

// For buckets [first, first + count) of each window and each far head, the window's bucket whose mean key fits the mean
// query best, counted through all windows, and its share of the softmax: [windows * count][far heads]. All in float32.
void choose(const Layer& layer, const float* means, int windows, int buckets, int first, int count, int32_t* chosen,
            float* probability) {
    const int hidden = layer.hidden, far = layer.heads - layer.near, across = (buckets + PANEL - 1) / PANEL;
    const Scratch queries(sizeof(float) * count * PANEL), keys(sizeof(float) * across * PANEL * PANEL);
    const Scratch scores(sizeof(float) * count * across * PANEL);
    for (int window = 0; window < windows; window++) {
        const Word* of_window = reinterpret_cast<const Word*>(means + size_t(window) * buckets * hidden);
        for (int head = 0; head < far; head++) {
            const size_t weight = size_t(head) * hidden * PANEL;
            times_panel<FLOAT32>(
                of_window + size_t(first) * hidden, hidden, count, layer.mean_query + weight, hidden,
                [&](int r, auto& y) { store_rows<FLOAT32>(queries.words() + r * PANEL, PANEL, y); });
            times_panel<FLOAT32>(of_window, hidden, buckets, layer.mean_key + weight, hidden,
                               [&](int first, auto& y) {
                                   for (int r = first; r < first + ROWS_IN<decltype(y)>; r++) {
                                       alignas(64) float key[PANEL];
                                       _mm512_store_ps(key, y[r - first][0]);
                                       _mm512_store_ps(key + 16, y[r - first][1]);
                                       for (int i = 0; i < PANEL; i++)
                                           keys.floats()[(r / PANEL * PANEL + i) * PANEL + r % PANEL] = key[i];
                                   }
                               });
            for (int panel = 0; panel < across; panel++)
                times_panel<FLOAT32>(queries.words(), PANEL, count, keys.words() + panel * PANEL * PANEL, PANEL,
                                   [&](int r, auto& y) {
                                       store_rows<FLOAT32>(scores.words() + (r * across + panel) * PANEL, across * PANEL, y);
                                   });
            for (int r = 0; r < count; r++) {
                const float* score = scores.floats() + r * across * PANEL;
                const int best = int(std::max_element(score, score + buckets) - score);
                __m512 sum = _mm512_setzero_ps();
                for (int i = 0; i < buckets; i += 16) {
                    const __mmask16 there = i + 16 <= buckets ? 0xffff : (1 << (buckets - i)) - 1;
                    __m512 y[1] = {
                        _mm512_sub_ps(_mm512_maskz_loadu_ps(there, score + i), _mm512_set1_ps(score[best]))};
                    exp2<FLOAT32>(y);
                    sum = _mm512_mask_add_ps(sum, there, sum, y[0]);
                }
                const size_t at = (size_t(window) * count + r) * far + head;
                chosen[at] = window * buckets + best;
                probability[at] = 1.0f / _mm512_reduce_add_ps(sum);
            }
        }
    }
}

// Keys of a bucket by word, values as a panel.
struct Source {
    const Word *keys, *values;
};

// Softmax attention of a bucket's queries of one head to N sources; operands [BUCKET][PANEL]. Keys and values of the
// first source may have to be multiplied by a weight.
template <int N>
struct Head {
    const Word* queries;
    Source sources[N];
    float weight;
    Word* to;
};

// What two rows of scores y to N sources become: shares, not yet divided by their sum; what to multiply by for that.
template <Mode M, int N, bool Weighted>
INLINE void softmax(__m512 (&y)[2][4 * N], float weight, Word* shares, float* part) {
    const auto over_all = [](const __m512 (&x)[4 * N], auto join) {
        __m512 z[4] = {x[0], x[1], x[2], x[3]};
        UNROLL for (int i = 4; i < 4 * N; i++) z[i % 4] = join(z[i % 4], x[i]);
        return join(join(z[0], z[1]), join(z[2], z[3]));
    };
    UNROLL for (int r = 0; r < 2; r++) {
        if (Weighted) UNROLL for (int z = 0; z < 4; z++) y[r][z] = _mm512_mul_ps(y[r][z], _mm512_set1_ps(weight));
        const auto larger = [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); };
        const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(over_all(y[r], larger)));
        UNROLL for (int z = 0; z < 4 * N; z++) y[r][z] = _mm512_sub_ps(y[r][z], top);
        exp2<M>(y[r]);
        const auto sum = [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); };
        part[r] = 1.0f / _mm512_reduce_add_ps(over_all(y[r], sum));
        if (Weighted) UNROLL for (int z = 0; z < 4; z++) y[r][z] = _mm512_mul_ps(y[r][z], _mm512_set1_ps(weight));
        UNROLL for (int z = 0; z < 4 * N; z += 2)
            store<M>(shares + r * N * words_of<M>(BUCKET) + words_of<M>(16 * z), y[r][z], y[r][z + 1]);
    }
}

template <Mode M, int N, bool Weighted>
INLINE void attend_head(const Head<N>& head, long pitch) {
    constexpr int words = words_of<M>(PANEL), across = words_of<M>(BUCKET);
    alignas(64) Word shares[ROWS][N * across];
    for (int first = 0; first < BUCKET; first += ROWS) {
        float part[ROWS];
        for (int row = 0; row < ROWS; row += 2) {
            __m512 y[2][4 * N];
            clear(y);
            for (int k = 0; k < words; k++) {
                __m512i left[2];
                UNROLL for (int r = 0; r < 2; r++) left[r] =
                    _mm512_set1_epi32(head.queries[(first + row + r) * words + k]);
                UNROLL for (int z = 0; z < 4 * N; z++) {
                    const __m512i right = _mm512_loadu_si512(head.sources[z / 4].keys + k * BUCKET + z % 4 * 16);
                    UNROLL for (int r = 0; r < 2; r++) y[r][z] = multiply_add<M>(y[r][z], left[r], right);
                }
            }
            softmax<M, N, Weighted>(y, head.weight, shares[row], part + row);
        }
        __m512 sums[ROWS][2];
        clear(sums);
        for (int n = 0; n < N; n++)
            product<M>(shares[0] + n * across, N * across, head.sources[n].values, across, sums);
        UNROLL for (int r = 0; r < ROWS; r++) {
            const __m512 share = _mm512_set1_ps(part[r]);
            store<M>(head.to + (first + r) * pitch, _mm512_mul_ps(sums[r][0], share), _mm512_mul_ps(sums[r][1], share));
        }
    }
}

// The same of several heads one after the other, in blocks of TILE_ROWS queries. While vectors take the softmax of a
// block, the matrix units score the next one and multiply the shares of the one before with values, step by step; what
// the head after reads is on its way to the second cache.
template <Mode M, int N, bool Weighted>
void attend_heads_by_tiles(const Head<N>* heads, int count, long pitch) {
    constexpr int words = words_of<M>(PANEL), across = words_of<M>(BUCKET), columns = N * BUCKET;
    constexpr int blocks = BUCKET / TILE_ROWS, pairs = TILE_ROWS / 2, each = (4 * N + pairs - 1) / pairs;
    alignas(64) float scores[2][TILE_ROWS * columns], sums[TILE_ROWS * PANEL];
    alignas(64) Word shares[2][TILE_ROWS * N * across];
    float part[2][TILE_ROWS];
    const auto score = [&](int block, int first, int end) {  // groups of 16 keys
        const Head<N>& head = heads[block / blocks];
        const int row = block % blocks * TILE_ROWS;
        asm volatile("" ::: "memory");
        const Word* queries = head.queries + row * words;
        _tile_loadd(4, queries, words * sizeof(Word));
        if constexpr (PARTS<M> == 3) {
            _tile_loadd(3, queries + 16, words * sizeof(Word));
            _tile_loadd(5, queries + 32, words * sizeof(Word));
        }
        for (int z = first; z < std::min(end, 4 * N); z++) {
            const Word* keys = head.sources[z / 4].keys + z % 4 * 16;
            _tile_loadd(6, keys, BUCKET * sizeof(Word));
            _tile_zero(0);
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (PARTS<M> == 3) {
                _tile_loadd(7, keys + 16 * BUCKET, BUCKET * sizeof(Word));
                _tile_dpbf16ps(0, 3, 6);
                _tile_dpbf16ps(0, 5, 6);
                _tile_loadd(6, keys + 32 * BUCKET, BUCKET * sizeof(Word));
                _tile_dpbf16ps(0, 4, 7);
                _tile_dpbf16ps(0, 3, 7);
                _tile_dpbf16ps(0, 4, 6);
            }
            _tile_stored(0, scores[block % 2] + 16 * z, columns * sizeof(float));
        }
    };
    const auto values = [&](int block, int step) {
        if (step == 0) {
            _tile_zero(1);
            _tile_zero(2);
        }
        const Word* left = shares[block % 2] + STEP<M> * step;
        const Word* right = heads[block / blocks].sources[step / 2].values + step % 2 * STEP<M> * PANEL;
        asm volatile("" ::: "memory");
        const auto load = [&](int part) {
            _tile_loadd(6, right + 16 * part * PANEL, PANEL * sizeof(Word));
            _tile_loadd(7, right + 16 * part * PANEL + 16, PANEL * sizeof(Word));
        };
        _tile_loadd(5, left, N * across * sizeof(Word));
        load(0);
        _tile_dpbf16ps(1, 5, 6);
        _tile_dpbf16ps(2, 5, 7);
        if constexpr (PARTS<M> == 3) {
            _tile_loadd(3, left + 16, N * across * sizeof(Word));
            _tile_loadd(4, left + 32, N * across * sizeof(Word));
            _tile_dpbf16ps(1, 3, 6);
            _tile_dpbf16ps(2, 3, 7);
            _tile_dpbf16ps(1, 4, 6);
            _tile_dpbf16ps(2, 4, 7);
            load(1);
            _tile_dpbf16ps(1, 5, 6);
            _tile_dpbf16ps(2, 5, 7);
            _tile_dpbf16ps(1, 3, 6);
            _tile_dpbf16ps(2, 3, 7);
            load(2);
            _tile_dpbf16ps(1, 5, 6);
            _tile_dpbf16ps(2, 5, 7);
        }
        if (step == 2 * N - 1) {
            _tile_stored(1, sums, PANEL * sizeof(float));
            _tile_stored(2, sums + 16, PANEL * sizeof(float));
        }
    };
    const auto finish = [&](int block) {
        Word* to = heads[block / blocks].to + block % blocks * TILE_ROWS * pitch;
        for (int r = 0; r < TILE_ROWS; r++) {
            const __m512 share = _mm512_set1_ps(part[block % 2][r]);
            store<M>(to + r * pitch, _mm512_mul_ps(_mm512_load_ps(sums + r * PANEL), share),
                     _mm512_mul_ps(_mm512_load_ps(sums + r * PANEL + 16), share));
        }
    };
    score(0, 0, 4 * N);
    for (int block = 0; block < blocks * count; block++) {
        const Head<N>& head = heads[block / blocks];
        const bool last = block == blocks * count - 1;
        const Head<N>* next = block / blocks + 1 < count ? &head + 1 : nullptr;
        for (int pair = 0; pair < pairs; pair++) {
            if (!last) score(block + 1, pair * each, (pair + 1) * each);
            if (block && pair < 2 * N) values(block - 1, pair);
            if (next) {
                constexpr int part_of = TILE<M> / (blocks * pairs);  // words of each of its tiles
                const int at = (block % blocks * pairs + pair) * part_of;
                for (int i = 0; i < part_of; i += 16) {
                    __builtin_prefetch(next->queries + at + i, 0, 2);
                    for (int n = 0; n < N; n++) {
                        __builtin_prefetch(next->sources[n].keys + at + i, 0, 2);
                        __builtin_prefetch(next->sources[n].values + at + i, 0, 2);
                    }
                }
            }
            __m512 y[2][4 * N];
            const float* from = scores[block % 2] + 2 * pair * columns;
            UNROLL for (int r = 0; r < 2; r++) UNROLL for (int z = 0; z < 4 * N; z++) y[r][z] =
                _mm512_load_ps(from + r * columns + 16 * z);
            softmax<M, N, Weighted>(y, head.weight, shares[block % 2] + 2 * pair * N * across,
                                    part[block % 2] + 2 * pair);
        }
        if (block) finish(block - 1);
    }
    for (int step = 0; step < 2 * N; step++) values(blocks * count - 1, step);
    finish(blocks * count - 1);
}

template <Mode M, int N, bool Weighted>
INLINE void attend_heads(const Head<N>* heads, int count, long pitch) {
    if constexpr (by_tiles(M)) {
        if (count) attend_heads_by_tiles<M, N, Weighted>(heads, count, pitch);
    } else {
        for (int i = 0; i < count; i++) attend_head<M, N, Weighted>(heads[i], pitch);
    }
}

// Adds to rows x [rows][hidden] a product with its bias (null: none).
template <Mode M>
INLINE void add_product(const Word* a, long pitch, int rows, const Word* weight, long panel_pitch, int words,
                        const float* bias, int hidden, float* x) {
    times_panels<M>(a, pitch, rows, weight, panel_pitch, words, hidden / PANEL,
                    [&](int panel, int first, auto& y) {
                        __m512 more[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
                        if (bias) UNROLL for (int z = 0; z < 2; z++) more[z] = _mm512_loadu_ps(bias + panel * PANEL + 16 * z);
                        UNROLL for (int r = 0; r < ROWS_IN<decltype(y)>; r++) UNROLL for (int z = 0; z < 2; z++) {
                            float* to = x + (first + r) * hidden + panel * PANEL + 16 * z;
                            _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), _mm512_add_ps(y[r][z], more[z])));
                        }
                    });
}

constexpr int MOST_HEADS = 32;  // as in library.py

template <Mode M>
void attend(const Layer& layer, float* x, const Word* tiles, int first, int count, int in_window, const int32_t* chosen,
            const float* probability) {
    [[maybe_unused]] const Units<M> units;
    const int hidden = layer.hidden, heads = layer.heads, near = layer.near, inner = layer.inner;
    const int words = words_of<M>(hidden);
    // Columns of the feed-forward that are expanded and contracted before the next ones.
    const int some = by_tiles(M) ? std::min(inner, 256) : inner;
    const long expanded_pitch = words_of<M>(some);
    const size_t bucket_words = size_t(tiles_of_bucket(layer)) * TILE<M>;
    const Scratch rows(sizeof(float) * SOME * hidden), operands(sizeof(Word) * GROUP<M> * BUCKET * words);
    const Scratch expanded(sizeof(Word) * GROUP<M> * BUCKET * expanded_pitch);
    for (int begin = first; begin < first + count; begin += GROUP<M>) {
        const int group = std::min(GROUP<M>, first + count - begin);
        Head<1> alone[GROUP<M> * MOST_HEADS];
        Head<2> at_end[GROUP<M> * MOST_HEADS], far[GROUP<M> * MOST_HEADS];
        Head<3> inside[GROUP<M> * MOST_HEADS];
        int alone_count = 0, at_end_count = 0, inside_count = 0, far_count = 0;
        Word* merged = operands.words();
        for (int bucket = begin; bucket < begin + group; bucket++) {
            const Word* own = tiles + bucket * bucket_words;
            const bool before = bucket % in_window > 0, after = bucket % in_window < in_window - 1;
            for (int h = 0; h < heads; h++) {
                const Word* queries = own + h * TILE<M>;
                Word* to = merged + (bucket - begin) * BUCKET * words + words_of<M>(PANEL) * h;
                const auto source = [&](const Word* at) {
                    return Source{at + (heads + h) * TILE<M>, at + (2 * heads + h) * TILE<M>};
                };
                const auto beside = [&](int by) { return source(own + by * long(bucket_words)); };
                if (h >= near) {
                    const size_t at = size_t(bucket - first) * (heads - near) + h - near;
                    const Word* other = tiles + chosen[at] * bucket_words;
                    const Source moved{other + (heads + h) * TILE<M>, other + (3 * heads + h - near) * TILE<M>};
                    far[far_count++] = {queries, {moved, source(own)}, probability[at], to};
                } else if (before && after) {
                    inside[inside_count++] = {queries, {beside(-1), source(own), beside(1)}, 1, to};
                } else if (before || after) {
                    at_end[at_end_count++] = {queries, {beside(before ? -1 : 1), source(own)}, 1, to};
                } else {
                    alone[alone_count++] = {queries, {source(own)}, 1, to};
                }
            }
        }
        attend_heads<M, 1, false>(alone, alone_count, words);
        attend_heads<M, 2, false>(at_end, at_end_count, words);
        attend_heads<M, 3, false>(inside, inside_count, words);
        attend_heads<M, 2, true>(far, far_count, words);

        float* here = x + size_t(begin) * BUCKET * hidden;
        add_product<M>(merged, words, group * BUCKET, layer.output, words * PANEL, words, layer.output_bias, hidden, here);
        Word* normal = operands.words();
        for (int p = 0; p < group * BUCKET; p += SOME) {
            normalise(here + p * hidden, hidden, layer.feed_forward_norm, rows.floats());
            as_operands<M>(rows.floats(), SOME * hidden, normal + p * words);
        }
        for (int from = 0; from < inner; from += some) {
            const int now = std::min(some, inner - from);
            times_panels<M>(normal, words, group * BUCKET, layer.expand + size_t(from) * words, words * PANEL, words,
                            now / PANEL, [&](int panel, int first, auto& y) {
                                constexpr int R = ROWS_IN<decltype(y)>;
                                const float* bias = layer.expand_bias + from + panel * PANEL;
                                __m512 z[2 * R];
                                UNROLL for (int i = 0; i < 2 * R; i++) z[i] =
                                    _mm512_add_ps(y[i / 2][i % 2], _mm512_loadu_ps(bias + i % 2 * 16));
                                gelu<M>(z);
                                UNROLL for (int r = 0; r < R; r++)
                                    store<M>(expanded.words() + (first + r) * expanded_pitch + panel * words_of<M>(PANEL),
                                             z[2 * r], z[2 * r + 1]);
                            });
            add_product<M>(expanded.words(), expanded_pitch, group * BUCKET, layer.contract + words_of<M>(from) * PANEL,
                           words_of<M>(inner) * PANEL, words_of<M>(now), from ? nullptr : layer.contract_bias, hidden,
                           here);
        }
    }
}

// ---------------------------------------------------------------------------------------------- convolutions

struct Convolution {
    const Word* weight;          // [POINTS][panels][groups][words of `in`][PANEL]
    const Word* last;            // [panels][words of `in`][PANEL]: of a last tap that is in no group; null for none
    const float* bias;           // [out]
    const float *scale, *shift;  // [in]: of the norm before it, which a ReLU follows; null for none
    int in, out, groups, dilation, relu;
};

// Where a sequence lies: its positions in order in up to three parts (null: zeros, also after norm and ReLU), what is
// added to the result in up to two, and where `length` positions of the result go.
struct Sequence {
    const float* given[3];
    int64_t positions[3];
    const float* added[2];
    int64_t added_positions[2];
    float* result;
    int64_t length;
};

// Position p of what is given (null: zeros), and of what is added.
INLINE const float* given_at(const Sequence& s, int64_t p, int size) {
    for (int i = 0; i < 3; p -= s.positions[i++])
        if (p < s.positions[i]) return s.given[i] ? s.given[i] + p * size : nullptr;
    return nullptr;
}

INLINE const float* added_at(const Sequence& s, int64_t p, int size) {
    const bool second = p >= s.added_positions[0];
    return s.added[second] + (p - (second ? s.added_positions[0] : 0)) * size;
}

constexpr int CHUNK = 128;      // rows of products at a time, of TAPS positions each
constexpr int NEAR_GROUPS = 3;  // of taps, whose weights for one point and panel stay near

// Toom-Cook: four outputs of four taps as a product of polynomials, from its values at 0, 1, -1, 1/2, -1/2, 3 and
// infinity, 7 products for 16. Row q = tile * dilation + phase stands for positions (TAPS * tile + i) * dilation +
// phase, i < TAPS. The next group of taps meets the next tile, so that all groups share the values of x.

// Of positions x: coefficients of the polynomial that has its zeros at all other points.
INLINE void values_at_points(const __m512 (&x)[POINTS], __m512 (&v)[POINTS]) {
    const auto times = [](float a, __m512 b, __m512 c) { return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c); };
    __m512 z[POINTS - 1];  // times t - 3
    UNROLL for (int i = 0; i < POINTS - 1; i++) z[i] = times(-3.0f, x[i], x[i + 1]);
    const __m512 even = times(-0.25f, z[2], z[4]), odd = times(-0.25f, z[1], z[3]);    // times t^2 - 1/4
    const __m512 even1 = _mm512_sub_ps(z[4], z[2]), odd1 = _mm512_sub_ps(z[3], z[1]);  // times t^2 - 1
    v[0] = times(-1.25f, z[2], times(0.25f, z[0], z[4]));
    v[1] = _mm512_add_ps(even, odd);
    v[2] = _mm512_sub_ps(even, odd);
    v[3] = times(0.5f, odd1, even1);
    v[4] = times(-0.5f, odd1, even1);
    v[5] = times(-1.25f, x[3], times(0.25f, x[1], x[5]));
    v[6] = times(-1.25f, z[3], times(0.25f, z[1], z[5]));
}

// Of products m: sums of powers of the points.
INLINE void outputs_of_points(const __m512 (&m)[POINTS], __m512 (&y)[TAPS]) {
    const auto times = [](float a, __m512 b, __m512 c) { return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c); };
    const __m512 sum = _mm512_add_ps(m[1], m[2]), difference = _mm512_sub_ps(m[1], m[2]);
    const __m512 sum_half = _mm512_add_ps(m[3], m[4]), difference_half = _mm512_sub_ps(m[3], m[4]);
    y[0] = _mm512_add_ps(_mm512_add_ps(m[0], sum), _mm512_add_ps(sum_half, m[5]));
    y[1] = times(3.0f, m[5], times(0.5f, difference_half, difference));
    y[2] = times(9.0f, m[5], times(0.25f, sum_half, sum));
    y[3] = times(27.0f, m[5], times(0.125f, difference_half, _mm512_add_ps(difference, m[6])));
}

template <Mode M>
void convolve(const Convolution& c, const Sequence& s) {
    [[maybe_unused]] const Units<M> units;
    const int in = c.in, words = words_of<M>(in), d = c.dilation, halo = (c.last ? c.groups : c.groups - 1) * d;
    const int planes = c.last ? POINTS + TAPS : POINTS;  // values at the points, and positions themselves
    const int64_t whole = s.length / (TAPS * d), left = s.length - whole * TAPS * d;
    const int64_t all_rows = whole * d + std::min<int64_t>(left, d);
    const int64_t end1 = s.positions[0], end2 = end1 + s.positions[1], end3 = end2 + s.positions[2];
    // Rows before and from which on no position is given, so that their products are zero.
    const int64_t zeros_before = s.given[0] ? 0 : std::max<int64_t>(0, (end1 - (POINTS - TAPS) * d) / (TAPS * d)) * d;
    const int64_t zeros_after = ((s.given[2] ? end3 : s.given[1] ? end2 : end1) / (TAPS * d) + 1) * d;
    const size_t plane = size_t(CHUNK + halo) * words;
    int64_t places[CHUNK];  // the first position of each row
    const Scratch values(sizeof(Word) * planes * plane), products(sizeof(float) * planes * CHUNK * PANEL);
    for (int64_t begin = 0; begin < all_rows; begin += CHUNK) {
        const int rows = int(std::min<int64_t>(CHUNK, all_rows - begin));
        for (int r = 0; r < rows; r++) places[r] = (begin + r) / d * TAPS * d + (begin + r) % d;
        if (begin)  // what the rows before have seen too
            for (int i = 0; i < POINTS; i++)
                std::memmove(values.words() + i * plane, values.words() + i * plane + CHUNK * words,
                             sizeof(Word) * halo * words);
        for (int q = begin ? halo : 0; q < rows + halo; q++) {
            const int64_t position = (begin + q) / d * TAPS * d + (begin + q) % d;
            const float* x[POINTS];
            for (int i = 0; i < POINTS; i++) x[i] = given_at(s, position + int64_t(i) * d, in);
            for (int channel = 0; channel < in; channel += 32) {
                __m512 v[POINTS][2], plain[TAPS][2];
                UNROLL for (int half = 0; half < 2; half++) {
                    const int at16 = channel + 16 * half;
                    __m512 y[POINTS];
                    UNROLL for (int i = 0; i < POINTS; i++) {
                        y[i] = x[i] ? _mm512_loadu_ps(x[i] + at16) : _mm512_setzero_ps();
                        if (c.scale && x[i])
                            y[i] = _mm512_max_ps(_mm512_setzero_ps(),
                                                 _mm512_fmadd_ps(y[i], _mm512_loadu_ps(c.scale + at16),
                                                                 _mm512_loadu_ps(c.shift + at16)));
                    }
                    __m512 found[POINTS];
                    values_at_points(y, found);
                    UNROLL for (int i = 0; i < POINTS; i++) v[i][half] = found[i];
                    UNROLL for (int i = 0; i < TAPS; i++) plain[i][half] = y[i];
                }
                UNROLL for (int i = 0; i < POINTS; i++)
                    store<M>(values.words() + i * plane + size_t(q) * words + words_of<M>(channel), v[i][0], v[i][1]);
                if (c.last && q >= halo)
                    UNROLL for (int i = 0; i < TAPS; i++)
                        store<M>(values.words() + (POINTS + i) * plane + size_t(q) * words + words_of<M>(channel),
                                  plain[i][0], plain[i][1]);
            }
        }
        for (int panel = 0; panel < c.out / PANEL; panel++) {
            for (int point = 0; point < planes; point++) {
                const bool plain = point >= POINTS;
                const Word* weight =
                    plain ? c.last + size_t(panel) * words * PANEL
                          : c.weight + (size_t(point) * (c.out / PANEL) + panel) * c.groups * words * PANEL;
                const int from = plain ? c.groups : 0, to = plain ? from + 1 : c.groups;
                const Word* a = values.words() + point * plane;
                float* m = products.floats() + point * CHUNK * PANEL;
                // What will be read and written once the sums are there is on its way to the cache until then.
                const auto expect = [&](int r) {
                    const int64_t p = r < rows ? places[r] + int64_t(point) * d : s.length;
                    if (point >= TAPS || p >= s.length) return;
                    prefetch(s.result + p * c.out + panel * PANEL, PANEL);
                    if (s.added[0] || s.added[1]) prefetch(added_at(s, p, c.out) + panel * PANEL, PANEL);
                };
                // Groups of taps [from, to) for rows [first, first + count); add(left, right) for each that meets some.
                const auto groups = [&](int first, int count, int from, int to, auto add) {
                    for (int g = from; g < to; g++) {
                        const int64_t row = begin + first + g * d;
                        if (row + count <= zeros_before || row >= zeros_after) continue;
                        add(a + size_t(first + g * d) * words, weight + size_t(plain ? 0 : g) * words * PANEL);
                    }
                };
                if constexpr (by_tiles(M)) {
                    for (int part = from; part < to; part += NEAR_GROUPS)
                        for (int first = 0; first < rows; first += BLOCK) {
                            float* sums = m + first * PANEL;
                            int next = first;
                            if (part == from) clear_tiles();
                            if (part > from) load_tiles(sums);
                            groups(first, BLOCK, part, std::min(to, part + NEAR_GROUPS),
                                   [&](const Word* left, const Word* right) {
                                       tiles_product<M>(left, words, right, words, [&] {
                                           for (int i = 0; i < (TIMES<M> > 1 ? 1 : 4) && part == from && next < first + BLOCK; i++)
                                               expect(next++);
                                       });
                                   });
                            store_tiles(sums);
                        }
                } else {
                    const auto several = [&](auto size, int first) {
                        constexpr int R = decltype(size)::value;
                        for (int r = first; r < first + R; r++) expect(r);
                        __m512 sums[R][2];
                        clear(sums);
                        groups(first, R, from, to, [&](const Word* left, const Word* right) {
                            product<M>(left, words, right, words, sums);
                        });
                        UNROLL for (int r = 0; r < R; r++) {
                            _mm512_store_ps(m + (first + r) * PANEL, sums[r][0]);
                            _mm512_store_ps(m + (first + r) * PANEL + 16, sums[r][1]);
                        }
                    };
                    int r = 0;
                    for (; r + ROWS <= rows; r += ROWS) several(std::integral_constant<int, ROWS>{}, r);
                    for (; r + 2 <= rows; r += 2) several(std::integral_constant<int, 2>{}, r);
                    for (; r < rows; r++) several(std::integral_constant<int, 1>{}, r);
                }
            }
            for (int r = 0; r < rows; r++) {
                for (int half = 0; half < 2; half++) {
                    const int at16 = panel * PANEL + 16 * half;
                    __m512 m[POINTS];
                    UNROLL for (int i = 0; i < POINTS; i++) m[i] =
                        _mm512_load_ps(products.floats() + (i * CHUNK + r) * PANEL + 16 * half);
                    const __m512 bias = _mm512_loadu_ps(c.bias + at16);
                    __m512 y[TAPS];
                    outputs_of_points(m, y);
                    if (c.last)
                        UNROLL for (int i = 0; i < TAPS; i++) y[i] = _mm512_add_ps(
                            y[i], _mm512_load_ps(products.floats() + ((POINTS + i) * CHUNK + r) * PANEL + 16 * half));
                    for (int i = 0; i < TAPS; i++) {
                        const int64_t p = places[r] + int64_t(i) * d;
                        if (p >= s.length) break;
                        __m512 z = _mm512_add_ps(y[i], bias);
                        if (c.relu) z = _mm512_max_ps(_mm512_setzero_ps(), z);
                        if (s.added[0] || s.added[1])
                            z = _mm512_add_ps(z, _mm512_loadu_ps(added_at(s, p, c.out) + at16));
                        _mm512_storeu_ps(s.result + p * c.out + at16, z);
                    }
                }
            }
        }
    }
}

// The same for a linear map of each position: weight [panels][words][PANEL], no groups, bias, norm or ReLU.
template <Mode M>
void map_positions(const Convolution& c, const Sequence& s) {
    [[maybe_unused]] const Units<M> units;
    constexpr int PART = 64;  // positions at a time
    const int in = c.in, words = words_of<M>(in);
    const Scratch operands(sizeof(Word) * PART * words);
    for (int64_t first = 0; first < s.length; first += PART) {
        const int some = int(std::min<int64_t>(PART, s.length - first));
        const float* more[PART];
        for (int r = 0; r < some; r++) {
            as_operands<M>(given_at(s, first + r, in), in, operands.words() + r * words);
            more[r] = added_at(s, first + r, c.out);
        }
        times_panels<M>(operands.words(), words, some, c.weight, words * PANEL, words, c.out / PANEL,
                        [&](int panel, int row, auto& y) {
                            UNROLL for (int i = 0; i < ROWS_IN<decltype(y)>; i++) {
                                const float* from = more[row + i] + panel * PANEL;
                                float* to = s.result + (first + row + i) * c.out + panel * PANEL;
                                if (first + row + i + PART < s.length) {
                                    prefetch(added_at(s, first + row + i + PART, c.out) + panel * PANEL, PANEL);
                                    prefetch(to + PART * c.out, PANEL);
                                }
                                _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(from), y[i][0]));
                                _mm512_storeu_ps(to + 16, _mm512_add_ps(_mm512_loadu_ps(from + 16), y[i][1]));
                            }
                        });
    }
}

struct Share {  // of the sequences of a call, for one thread
    int mode;
    const Convolution* const* convolutions;
    const Sequence* sequences;
    int steps, count, first, by;
};

constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;  // of Linux, asm/prctl.h
constexpr int MOST_THREADS = 64;  // as in library.py

template <Mode M>
void one_by(const Convolution& convolution, const Sequence& sequence) {
    (convolution.groups ? convolve<M> : map_positions<M>)(convolution, sequence);
}

// f(std::integral_constant<Mode, mode>).
template <class F>
void in_mode(int mode, F f) {
    switch (mode) {
        case FLOAT32: return f(std::integral_constant<Mode, FLOAT32>{});
        case BFLOAT16: return f(std::integral_constant<Mode, BFLOAT16>{});
        case MATRIX_FLOAT32: return f(std::integral_constant<Mode, MATRIX_FLOAT32>{});
        case MATRIX_BFLOAT16: return f(std::integral_constant<Mode, MATRIX_BFLOAT16>{});
    }
    std::abort();
}

static_assert(sizeof(Layer) == 6 * 8 + 9 * 8 + 4 * 4 && sizeof(Convolution) == 5 * 8 + 6 * 4 &&
                  sizeof(Sequence) == 12 * 8,
              "library.py has the same fields");

void* work(void* given) {
    const Share& share = *static_cast<const Share*>(given);
    for (int i = share.first; i < share.count; i += share.by)
        for (int step = 0; step < share.steps; step++)
            in_mode(share.mode, [&](auto mode) {
                one_by<mode>(*share.convolutions[step], share.sequences[step * share.count + i]);
            });
    return nullptr;
}

}  // namespace

extern "C" {

// CRC-32 of the source that this was compiled from (setup.py).
unsigned sptx_source() { return SPTX_SOURCE; }

// What can be used here, a bit each: 1 FLOAT32, 2 BFLOAT16, 4 the matrix units, for which this process is given leave;
// they cannot be used before. Linux refuses it while a thread has a stack for signals too small for their state.
int sptx_features() {
    unsigned a, b, c, d;
    int found = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        found |= 1;
    if ((found & 1) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5))) found |= 2;
    constexpr unsigned bfloat16 = 1u << 22, tiles = 1u << 24;
    if ((found & 2) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & bfloat16) && (d & tiles) &&
        !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA))
        found |= 4;
    return found;
}

void sptx_project(int mode, const Layer* layer, const float* x, const int32_t* buckets, const int32_t* wanted, int count,
                  int what, Word* tiles, float* means) {
    in_mode(mode, [&](auto m) { project<m>(*layer, x, buckets, wanted, count, what, tiles, means); });
}

void sptx_choose(const Layer* layer, const float* means, int windows, int buckets, int first, int count,
                 int32_t* chosen, float* probability) {
    choose(*layer, means, windows, buckets, first, count, chosen, probability);
}

void sptx_attend(int mode, const Layer* layer, float* x, const Word* tiles, int first, int count, int in_window,
                 const int32_t* chosen, const float* probability) {
    in_mode(mode, [&](auto m) { attend<m>(*layer, x, tiles, first, count, in_window, chosen, probability); });
}

// Sequences [steps][count]: of each column one convolution after the other, column i by thread i % threads.
void sptx_convolve(int mode, const Convolution* const* convolutions, const Sequence* sequences, int steps, int count,
                   int threads) {
    Share shares[MOST_THREADS];
    pthread_t ids[MOST_THREADS];
    bool started[MOST_THREADS] = {};
    threads = std::min({threads, count, MOST_THREADS});
    for (int t = 0; t < threads; t++) shares[t] = {mode, convolutions, sequences, steps, count, t, threads};
    for (int t = 1; t < threads; t++) started[t] = !pthread_create(&ids[t], nullptr, work, &shares[t]);
    for (int t = 0; t < threads; t++)
        if (!started[t]) work(&shares[t]);
    for (int t = 1; t < threads; t++)
        if (started[t]) pthread_join(ids[t], nullptr);
}
}
