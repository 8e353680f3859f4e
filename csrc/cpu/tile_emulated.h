// A tile unit in software, for processors without AMX: what tile_amx.h offers, as Intel's manual (SDM volume 2, TDPBF16PS,
// LDTILECFG, TILELOADD) describes it. What a processor faults on throws std::logic_error. Needs AVX-512F.

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include <stdexcept>

#include "tile_config.h"

namespace dcnn {
namespace {

constexpr int kTileCount = 8, kTileRows = 16, kTileRowBytes = 64;  // palette 1

struct SoftwareTiles {
  bool configured;
  TileConfig config;
  alignas(64) uint8_t data[kTileCount][kTileRows][kTileRowBytes];
};

inline SoftwareTiles& tile_unit() {
  static thread_local SoftwareTiles unit{};
  return unit;
}

inline void tile_fault(bool wrong, const char* why) {
  if (wrong) throw std::logic_error(why);
}

inline void tile_configure(const TileConfig& config) {
  tile_fault(config.palette != 1, "tiles: only palette 1 is there");
  tile_fault(config.start_row != 0, "tiles: start_row must be 0");
  for (uint8_t byte : config.reserved) tile_fault(byte != 0, "tiles: reserved bytes must be 0");
  for (int t = 0; t < 16; ++t) {
    const bool there = t < kTileCount;
    tile_fault(config.rows[t] > (there ? kTileRows : 0), "tiles: too many rows, or no such tile");
    tile_fault(config.row_bytes[t] > (there ? kTileRowBytes : 0), "tiles: rows too long, or no such tile");
    tile_fault((config.rows[t] == 0) != (config.row_bytes[t] == 0), "tiles: rows without bytes or bytes without rows");
  }
  SoftwareTiles& unit = tile_unit();
  unit.configured = true;
  unit.config = config;
  memset(unit.data, 0, sizeof unit.data);
}

inline void tile_release() { tile_unit() = SoftwareTiles{}; }

template <int T>
inline SoftwareTiles& tile_checked() {
  static_assert(T >= 0 && T < kTileCount, "palette 1 has eight tiles");
  SoftwareTiles& unit = tile_unit();
  tile_fault(!unit.configured, "tiles: not configured");
  tile_fault(unit.config.rows[T] == 0, "tiles: this tile is not configured");
  return unit;
}

template <int T>
inline void tile_zero() {
  SoftwareTiles& unit = tile_checked<T>();
  memset(unit.data[T], 0, sizeof unit.data[T]);
}

template <int T>
inline void tile_load(const void* from, int64_t row_bytes) {
  SoftwareTiles& unit = tile_checked<T>();
  memset(unit.data[T], 0, sizeof unit.data[T]);
  for (int m = 0; m < unit.config.rows[T]; ++m) {
    memcpy(unit.data[T][m], static_cast<const uint8_t*>(from) + m * row_bytes, unit.config.row_bytes[T]);
  }
}

template <int T>
inline void tile_store(void* to, int64_t row_bytes) {
  SoftwareTiles& unit = tile_checked<T>();
  for (int m = 0; m < unit.config.rows[T]; ++m) {
    memcpy(static_cast<uint8_t*>(to) + m * row_bytes, unit.data[T][m], unit.config.row_bytes[T]);
  }
}

// One row of C. Even and odd products have sums of their own, from zero in every instruction, in fused multiply-adds; their sum is
// added to C. Not inlined, so that no arithmetic moves out of the rounding mode that tile_dot sets.
__attribute__((noinline)) void tile_dot_row(const uint8_t* a, const uint8_t (*b)[kTileRowBytes], int pairs, uint8_t* c) {
  __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  for (int k = 0; k < pairs; ++k) {
    uint32_t pair;
    memcpy(&pair, a + 4 * k, sizeof pair);
    const __m512i both = _mm512_load_si512(b[k]);
    const __m512 x0 = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(pair << 16)));
    const __m512 x1 = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(pair & 0xffff0000)));
    even = _mm512_fmadd_ps(x0, _mm512_castsi512_ps(_mm512_slli_epi32(both, 16)), even);
    odd = _mm512_fmadd_ps(x1, _mm512_castsi512_ps(_mm512_and_si512(both, upper)), odd);
  }
  _mm512_store_ps(c, _mm512_add_ps(_mm512_load_ps(c), _mm512_add_ps(even, odd)));
}

template <int C, int A, int B>
inline void tile_dot() {
  static_assert(C != A && C != B && A != B, "three tiles");
  SoftwareTiles& unit = tile_checked<C>();
  tile_checked<A>();
  tile_checked<B>();
  const uint8_t* rows = unit.config.rows;
  const uint16_t* bytes = unit.config.row_bytes;
  tile_fault(bytes[A] % 4 != 0 || bytes[B] % 4 != 0 || bytes[C] % 4 != 0, "tiles: rows must be whole pairs");
  tile_fault(rows[C] != rows[A] || bytes[C] != bytes[B] || bytes[A] / 4 != rows[B], "tiles: shapes do not match");
  // Denormals in are zeros, denormals out become zeros, rounding is to nearest even, nothing is raised, MXCSR has no say.
  const unsigned before = _mm_getcsr(), fixed = 0x1f80 | 0x8000 | 0x0040;
  asm volatile("ldmxcsr %0" ::"m"(fixed) : "memory");
  for (int m = 0; m < rows[C]; ++m) tile_dot_row(unit.data[A][m], unit.data[B], bytes[A] / 4, unit.data[C][m]);
  asm volatile("ldmxcsr %0" ::"m"(before) : "memory");
}

}  // namespace
}  // namespace dcnn
