// The processor's tile unit (AMX-TILE, AMX-BF16). tile_emulated.h offers the same operations in software.
//
// Written as assembly because GCC's intrinsics do not say what memory they read: GCC 12 drops the stores of what
// _tile_loadconfig and _tile_loadd are about to read.

#include <stdint.h>

namespace dcnn {
namespace {

// The 64 bytes that LDTILECFG reads.
struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64, "as the processor reads it");

inline void tile_configure(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config) : "memory"); }

inline void tile_release() { asm volatile("tilerelease" ::: "memory"); }

template <int T>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}

template <int T>
inline void tile_load(const void* from, int64_t row_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(T) : "memory");
}

template <int T>
inline void tile_store(void* to, int64_t row_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(T) : "memory");
}

// C += A * B: sums of products of bfloat16 pairs.
template <int C, int A, int B>
inline void tile_dot() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

// Without vector arithmetic for half a microsecond the vector unit goes to sleep, and the next tile store waits for it
// (measured on one AMX processor): called in loops of nothing but tile operations.
inline void tile_awake() { asm volatile("vaddps %%xmm31, %%xmm31, %%xmm31" ::: "xmm31"); }

}  // namespace
}  // namespace dcnn
