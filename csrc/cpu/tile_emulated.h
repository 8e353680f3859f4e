// A tile unit in software, for processors without AMX: the operations of tile_amx.h as described in Intel's manual (SDM volume
// 2, TDPBF16PS, LDTILECFG, TILELOADD). Faults throw std::logic_error, and so does configuring twice, as the kernels release
// their tiles. Needs AVX-512F.

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include <stdexcept>

#include "tile_config.h"

namespace dcnn {
namespace {

constexpr int kTileCount = 8, kTileRows = 16, kTileRowBytes = 64;  // palette 1

inline void tile_fault(bool wrong, const char* why) {
  if (wrong) throw std::logic_error(why);
}

// Computes one row of C. Even and odd products are summed separately, from zero in every instruction, in fused multiply-adds;
// their sum is added to C. Not inlined, so that no arithmetic leaves the rounding mode set by `dot`.
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

class SoftwareTiles {
 public:
  void configure(const TileConfig& config) {
    tile_fault(configured_, "tiles: configured, and not released");
    tile_fault(config.palette != 1, "tiles: only palette 1 is there");
    tile_fault(config.start_row != 0, "tiles: start_row must be 0");
    for (uint8_t byte : config.reserved) tile_fault(byte != 0, "tiles: reserved bytes must be 0");
    for (int t = 0; t < 16; ++t) {
      const bool there = t < kTileCount;
      tile_fault(config.rows[t] > (there ? kTileRows : 0), "tiles: too many rows, or no such tile");
      tile_fault(config.row_bytes[t] > (there ? kTileRowBytes : 0), "tiles: rows too long, or no such tile");
      tile_fault((config.rows[t] == 0) != (config.row_bytes[t] == 0), "tiles: rows without bytes or bytes without rows");
    }
    configured_ = true;
    config_ = config;
    memset(data_, 0, sizeof data_);
  }

  void release() { configured_ = false; }

  void zero(int t) {
    check(t);
    memset(data_[t], 0, sizeof data_[t]);
  }

  void load(int t, const void* from, int64_t row_bytes) {
    zero(t);
    for (int m = 0; m < config_.rows[t]; ++m) {
      memcpy(data_[t][m], static_cast<const uint8_t*>(from) + m * row_bytes, config_.row_bytes[t]);
    }
  }

  void store(int t, void* to, int64_t row_bytes) const {
    check(t);
    for (int m = 0; m < config_.rows[t]; ++m) {
      memcpy(static_cast<uint8_t*>(to) + m * row_bytes, data_[t][m], config_.row_bytes[t]);
    }
  }

  void dot(int c, int a, int b) {
    check(c);
    check(a);
    check(b);
    const uint8_t* rows = config_.rows;
    const uint16_t* bytes = config_.row_bytes;
    tile_fault(c == a || c == b || a == b, "tiles: a product takes three");
    tile_fault(bytes[a] % 4 != 0 || bytes[b] % 4 != 0 || bytes[c] % 4 != 0, "tiles: rows must be whole pairs");
    tile_fault(rows[c] != rows[a] || bytes[c] != bytes[b] || bytes[a] / 4 != rows[b], "tiles: shapes do not match");
    // Treats denormal inputs and outputs as zero, rounds to nearest even, raises nothing, and ignores the caller's MXCSR.
    const unsigned before = _mm_getcsr(), fixed = 0x1f80 | 0x8000 | 0x0040;
    asm volatile("ldmxcsr %0" ::"m"(fixed) : "memory");
    for (int m = 0; m < rows[c]; ++m) tile_dot_row(data_[a][m], data_[b], bytes[a] / 4, data_[c][m]);
    asm volatile("ldmxcsr %0" ::"m"(before) : "memory");
  }

 private:
  void check(int t) const {
    tile_fault(t < 0 || t >= kTileCount, "tiles: no such tile");
    tile_fault(!configured_, "tiles: not configured");
    tile_fault(config_.rows[t] == 0, "tiles: this tile is not configured");
  }

  bool configured_ = false;
  TileConfig config_{};
  alignas(64) uint8_t data_[kTileCount][kTileRows][kTileRowBytes] = {};
};

inline SoftwareTiles& software_tiles() {
  static thread_local SoftwareTiles tiles;
  return tiles;
}

inline void tile_configure(const TileConfig& config) { software_tiles().configure(config); }

inline void tile_release() { software_tiles().release(); }

template <int T>
inline void tile_zero() {
  software_tiles().zero(T);
}

template <int T>
inline void tile_load(const void* from, int64_t row_bytes) {
  software_tiles().load(T, from, row_bytes);
}

template <int T>
inline void tile_store(void* to, int64_t row_bytes) {
  software_tiles().store(T, to, row_bytes);
}

template <int C, int A, int B>
inline void tile_dot() {
  software_tiles().dot(C, A, B);
}

}  // namespace
}  // namespace dcnn
