// A layer at each pixel on a tile unit, in bfloat16; for the tile operations (tile_amx.h) that the including file defines.
//
// Tile: 2 x 16 pixels x up to 3 x 16 outputs in six tiles of sums, which begin at the bias. Pixels are the left operand, read
// in place, 64 bytes of each in a step. K always runs in the same steps of 32, each summed inside the tile unit, so an output's
// bits do not depend on its tile or its place in it.
// Layout: pixels [count][inputs], padded with zeros to whole steps of inputs, with room for whole tiles of pixels; weights in
// the layout for vectors of pairs, [inputs in pairs][vectors of the panel][16 outputs][2], padded with zeros: a tile's rows are
// a panel's width apart. Memory: 6 KiB of sums. Limit, predicted: the tile unit's products, while operands are in cache
// (docs/engine-notes.md).

#pragma once

#include "amx_tiles_impl.h"
#include "pixels_impl.h"

namespace dcnn {
namespace {

// Products in the tile unit, of operands rounded to bfloat16. A step takes 32 inputs.
struct Tiled {
  typedef uint16_t Element;
  static constexpr int kDepth = kTileDepth;
  static void put(float value, bool, uint16_t* to) { *to = to_bf16(value); }
};

static_assert(Vec::width == kTileSide && kPanel == 3, "a vector is a row of a tile, and a panel's sums fit the tiles twice");

template <>
constexpr int64_t kPixelsRead<Tiled> = kTileSide;

template <>
struct InUse<Tiled> {
  const TilesInUse tiles{kTileSide};
};

template <int N>
struct Number {
  static constexpr int value = N;
};

// Calls use(Number<0>{}), ..., use(Number<N - 1>{}): instructions name tiles by constants.
template <int N, typename Use>
__attribute__((always_inline)) inline void for_each_number(const Use& use) {
  if constexpr (N > 0) {
    for_each_number<N - 1>(use);
    use(Number<N - 1>{});
  }
}

// Writes sums of P tiles of pixels and V tiles of outputs to `sums`, [pixels][outputs]. step: values between pixels.
template <int V, int P>
void pixel_sums(const uint16_t* a, int64_t step, int64_t steps, const float* weight, Ahead ahead, const float* bias,
                float* sums) {
  constexpr int64_t kRow = V * Vec::width, kRowBytes = kRow * static_cast<int64_t>(sizeof(float));
  for_each_number<P * V>([&](auto tile) {
    constexpr int kTile = decltype(tile)::value;
    tile_load<kTile>(bias + kTile % V * Vec::width, 0);  // the same row 16 times
  });
  __m128 awake = _mm_setzero_ps();
  for (int64_t i = 0; i < steps; ++i, a += kTileDepth, weight += kTileSide * kRow, ahead.at += ahead.step) {
    for (uintptr_t line = ahead.at; line < ahead.at + ahead.step; line += 64) {
      __builtin_prefetch(reinterpret_cast<const void*>(line), 0, 2);
    }
    for_each_number<P * V>([&](auto tile) {
      constexpr int kTile = decltype(tile)::value, kPixel = kTile / V, kOutput = kTile % V;
      // Six tiles of sums leave one for each operand, so weights are loaded again for the second tile of pixels, from L1.
      constexpr int kLeft = V == 3 ? 6 : 4 + kPixel, kRight = V == 3 ? 7 : 6 + kOutput;
      if constexpr (kOutput == 0) tile_load<kLeft>(a + kPixel * kTileSide * step, 2 * step);
      if constexpr (kPixel == 0 || V == 3) tile_load<kRight>(weight + kOutput * Vec::width, kRowBytes);
      tile_dot<kTile, kLeft, kRight>();
    });
    // Prevents a stall: a Xeon without vector arithmetic for 0.5 microseconds was seen to stop for 0.3 at the next store of a
    // tile.
    asm volatile("vaddps %0, %0, %0" : "+x"(awake));
  }
  for_each_number<P * V>([&](auto tile) {
    constexpr int kTile = decltype(tile)::value;
    tile_store<kTile>(sums + kTile / V * kTileSide * kRow + kTile % V * Vec::width, kRowBytes);
  });
}

template <int V>
void tile_panel(const uint16_t* a, int64_t step, int64_t count, int64_t inputs, const float* weight, const float* next,
                const Finish& finish) {
  constexpr int64_t kMost = 2 * kTileSide;
  alignas(64) float sums[kMost * V * Vec::width];
  const int64_t steps = (inputs + kTileDepth - 1) / kTileDepth, turns = (count + kMost - 1) / kMost;
  const int64_t bytes = steps * kTileSide * V * Vec::width * static_cast<int64_t>(sizeof(float));
  for (int64_t turn = 0; turn < turns; ++turn) {
    const int64_t first = turn * kMost, there = count - first < kMost ? count - first : kMost;
    const uintptr_t share = reinterpret_cast<uintptr_t>(next) + static_cast<uintptr_t>(turn * bytes / turns);
    const Ahead ahead{share, static_cast<uintptr_t>(bytes / turns / steps)};
    const auto products = there > kTileSide ? pixel_sums<V, 2> : pixel_sums<V, 1>;
    products(a + first * step, step, steps, weight, ahead, finish.bias, sums);
    for (int64_t i = 0; i < there; ++i) {
      const int64_t at = finish.at(first + i);
      for (int v = 0; v < V; ++v) finish.put(at, v, Vec::load(sums + (i * V + v) * Vec::width));
    }
  }
}

template <>
inline void panel<Tiled>(int64_t vectors, const uint16_t* a, int64_t step, int64_t count, int64_t depth, const float* weight,
                         const float* next, const Finish& finish) {
  if (vectors == 1) return tile_panel<1>(a, step, count, depth, weight, next, finish);
  if (vectors == 2) return tile_panel<2>(a, step, count, depth, weight, next, finish);
  tile_panel<3>(a, step, count, depth, weight, next, finish);
}

}  // namespace
}  // namespace dcnn
