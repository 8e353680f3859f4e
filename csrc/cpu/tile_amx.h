// The processor's tile unit (AMX-TILE, AMX-BF16). tile_emulated.h offers the same operations in software.
//
// Written in assembly because GCC's intrinsics do not declare the memory they read: those of GCC 12 declare 8 of the
// configuration's 64 bytes and none of a tile's, so the compiler may drop the stores that fill them.

#include <stdint.h>

#include "tile_config.h"

namespace dcnn {
namespace {

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

}  // namespace
}  // namespace dcnn
