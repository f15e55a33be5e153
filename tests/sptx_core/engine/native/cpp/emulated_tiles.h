// The instructions of the matrix units (AMX) by AVX-512, for processors that lack them.
//
// Included before a source (g++ -include), it takes the place of the compiler's intrinsics. Tiles have 16 rows of 16
// words, as the product configures them; each use aborts the process unless the thread has configured them. Products
// are summed in the order of Intel's manual, even and odd elements apart, denormal operands taken for zero.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace emulated {
namespace {

struct Tile {
    uint32_t words[16][16];
};

thread_local Tile tiles[8];
thread_local bool configured = false;

inline Tile& tile(int number) {
    if (!configured) std::abort();
    return tiles[number];
}

inline void configure(const void* configuration) {
    const auto* bytes = static_cast<const uint8_t*>(configuration);
    for (int t = 0; t < 8; t++)
        if (bytes[0] != 1 || bytes[16 + 2 * t] != 64 || bytes[48 + t] != 16) std::abort();
    std::memset(tiles, 0, sizeof(tiles));
    configured = true;
}

inline void release() { configured = false; }

inline void zero(int to) { std::memset(tile(to).words, 0, sizeof(Tile)); }

inline void load(int to, const void* from, long stride) {
    for (int r = 0; r < 16; r++) std::memcpy(tile(to).words[r], static_cast<const char*>(from) + r * stride, 64);
}

inline void store(int from, void* to, long stride) {
    for (int r = 0; r < 16; r++) std::memcpy(static_cast<char*>(to) + r * stride, tile(from).words[r], 64);
}

// bfloat16 in the high halves of words -> float32; denormals -> 0.
inline __m512 values(__m512i words) {
    const __m512i bits = _mm512_and_si512(words, _mm512_set1_epi32(int(0xffff0000)));
    const __mmask16 normal = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
    return _mm512_castsi512_ps(_mm512_maskz_mov_epi32(normal, bits));
}

// Even and odd elements of a tile, as float32.
struct Halves {
    alignas(64) float even[16][16], odd[16][16];

    explicit Halves(const Tile& tile) {
        for (int r = 0; r < 16; r++) {
            const __m512i words = _mm512_loadu_si512(tile.words[r]);
            _mm512_store_ps(even[r], values(_mm512_slli_epi32(words, 16)));
            _mm512_store_ps(odd[r], values(words));
        }
    }
};

inline void multiply(int to, int left, int right) {
    const Halves a(tile(left)), b(tile(right));
    for (int m = 0; m < 16; m++) {
        __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
        for (int k = 0; k < 16; k++) {
            even = _mm512_fmadd_ps(_mm512_set1_ps(a.even[m][k]), _mm512_load_ps(b.even[k]), even);
            odd = _mm512_fmadd_ps(_mm512_set1_ps(a.odd[m][k]), _mm512_load_ps(b.odd[k]), odd);
        }
        uint32_t* sums = tile(to).words[m];
        _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_add_ps(even, odd)));
    }
}

}  // namespace
}  // namespace emulated

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(configuration) emulated::configure(configuration)
#define _tile_release() emulated::release()
#define _tile_zero(to) emulated::zero(to)
#define _tile_loadd(to, from, stride) emulated::load(to, from, stride)
#define _tile_stored(from, to, stride) emulated::store(from, to, stride)
#define _tile_dpbf16ps(to, left, right) emulated::multiply(to, left, right)
