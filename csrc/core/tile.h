// How a convolution computes its outputs: one by one, or in tiles from shared products. All inputs of a tile decide its
// outputs' bits, so plans (plan/axis.h) must know the tiles of the kernels (csrc/cpu): they are defined only here.
#pragma once

#include <cstdint>

namespace dcnn {

// The operands of a convolution's products, which are summed in fp32: floats; operands rounded to bfloat16; or operands split
// into two bfloat16 each, without the product of the two lower parts. Only tile units use the last: elsewhere fp32 costs less
// and errs less.
enum class Precision : int { ieee = 0, bf16 = 1, bf16x3 = 2 };

// How an instruction set multiplies bfloat16: as floats, in vectors of pairs, or in a tile unit.
enum class Bf16 : int { floats, pairs, tiles };

// The properties that decide a convolution's tiles. channels, filters: of one group.
struct Convolution {
  int64_t size, stride, channels, filters;
};

// Taps per axis of the images of every stride-th pixel, where the convolution is computed from products at points
// (csrc/cpu/winograd_impl.h); 0 where every output is a sum over its taps. With few channels the transforms cost more than they
// save. A tile unit gains nothing: it does 512 multiply-adds of bfloat16 in a cycle, two vector units 32 of fp32, and points
// save a factor of only 4.0 with 5 x 5 taps and 2.4 with 3 x 3 (measured on Zen 4), so sums win even at a third of its rate.
// Six taps are for fp32 alone: pairs of products cost less than their transforms and are shared better than tiles of 3.
static inline int64_t winograd_taps(const Convolution& c, Precision precision, Bf16 bf16) {
  if (precision == Precision::bf16x3 || (precision != Precision::ieee && bf16 == Bf16::tiles)) return 0;
  const int64_t taps = (c.size + c.stride - 1) / c.stride;
  const bool pays = taps == 3 || taps == 5 || (taps == 6 && precision == Precision::ieee);
  return pays && c.channels * c.stride * c.stride >= 12 ? taps : 0;
}

// Points per axis at which a tile's products are formed.
static inline constexpr int64_t winograd_points(int64_t taps) { return taps == 3 ? 6 : 8; }

// The outputs computed from the same products, and their cost; fields as in OutputTile of dcnn_fast/ops/block/params.py.
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
