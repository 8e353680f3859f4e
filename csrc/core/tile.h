// How a convolution computes its outputs: one by one, or in tiles from the same products. All inputs of its tile decide an output's
// bits, so plans (plan/axis.h) must know the tiles that kernels (csrc/cpu) use: this is the one statement of them.
#pragma once

#include <cstdint>

namespace dcnn {

// What a convolution multiplies, summed in fp32: floats; operands rounded to bfloat16; or operands split into two bfloat16 each,
// without the products of both lower parts, which tile units alone do: elsewhere fp32 costs less and errs less.
enum class Precision : int { ieee = 0, bf16 = 1, bf16x3 = 2 };

// How an instruction set multiplies bfloat16: as floats, in vectors of pairs, or in a tile unit.
enum class Bf16 : int { floats, pairs, tiles };

// What decides a convolution's tiles. channels, filters: of one group.
struct Convolution {
  int64_t size, stride, channels, filters;
};

// Taps per axis of the images of every stride-th pixel, where the convolution is computed from products at points
// (csrc/cpu/winograd_impl.h); 0 where every output is a sum over its taps. With few channels the transforms would cost more than
// they save, and a tile unit needs none of that: it does 512 multiply-adds of bfloat16 in a cycle where two vector units do 32 of
// fp32, and points save a factor of 4.0 with 5 x 5 taps and 2.4 with 3 x 3 (measured on Zen 4): even at a third of its rate sums win.
// Six taps are for fp32 alone: pairs of products cost less than their transforms and are shared better than tiles of 3.
static inline int64_t winograd_taps(const Convolution& c, Precision precision, Bf16 bf16) {
  if (precision == Precision::bf16x3 || (precision != Precision::ieee && bf16 == Bf16::tiles)) return 0;
  const int64_t taps = (c.size + c.stride - 1) / c.stride;
  const bool pays = taps == 3 || taps == 5 || (taps == 6 && precision == Precision::ieee);
  return pays && c.channels * c.stride * c.stride >= 12 ? taps : 0;
}

// Points per axis at which a tile's products are formed.
static inline constexpr int64_t winograd_points(int64_t taps) { return taps == 3 ? 6 : 8; }

// The outputs that are computed from the same products, and what that takes; fields as those of OutputTile in
// dcnn_fast/ops/block/params.py.
struct OutputTile {
  int64_t side, size;
  double macs;
};

// The tiles of the C++ engine on an instruction set. The costs of the transforms are fitted to measured blocks.
static inline OutputTile engine_tile(const Convolution& c, Precision precision, Bf16 bf16) {
  const int64_t taps = winograd_taps(c, precision, bf16);
  if (taps == 0) return {1, c.size, static_cast<double>(c.size * c.size)};
  const int64_t points = winograd_points(taps), side = points + 1 - taps;
  const double reach = static_cast<double>(points * c.stride) / static_cast<double>(side);
  const double transforms = 13.0 / static_cast<double>(c.filters) + 10.0 / static_cast<double>(c.channels * c.stride * c.stride);
  return {side, taps * c.stride, reach * reach * (1.0 + transforms)};
}

}  // namespace dcnn
