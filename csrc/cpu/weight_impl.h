// The gradients of weight and bias from those of one image's convolution outputs, as sums over all positions, for the vector
// type `Vec` that the including file defines.
//
// A way to the weights' gradient is a type with these members; `DirectWeights` is the simplest:
//   running(q)        floats, initially zero, that accumulate a chunk's images; 0 where images are added to the sums directly
//   scratch(q)        floats of scratch for one image
//   add(q, image, conv_grad, sums, running, scratch)
//   finish(q, running, sums)
//                     adds `running` to the sums, after all of a chunk's images
//
// A tile is up to kPositions consecutive products of a patch row (taps, then channels) x 2 vectors of filters, summed in
// registers over a band of conv rows and then added to the image's sums, so that no sum in registers is long. The problem fixes
// all orders.
// Memory: one image's patch. Limit: multiply-adds.

#pragma once

#include <string.h>

#include "conv_impl.h"
#include "gradient.h"
#include "patch_impl.h"

namespace dcnn {
namespace {

inline int64_t padded_row(int64_t filters) { return round_up(filters, Vec::width); }

// The sum of `terms` vectors, `step` floats apart.
inline Vec sum_of(const float* from, int64_t terms, int64_t step) {
  Vec sum = Vec::load(from);
  for (int64_t i = 1; i < terms; ++i) sum = Vec::add(sum, Vec::load(from + i * step));
  return sum;
}

// Operands of a tile of the weights' gradient; steps in floats.
struct WeightPlace {
  const float* x;  // the first product of the first position
  int64_t x_row, x_col;
  const float* grad;  // at the first position, for the block's filters
  int64_t grad_row, grad_col;
  int64_t rows, cols;
};

// Adds T products x one block of filters, summed over rows x cols positions, to `sums`.
template <int T>
void weight_tile(const WeightPlace& t, float* sums) {
  Vec low[T], high[T];
  _Pragma("GCC unroll 16") for (int i = 0; i < T; ++i) low[i] = high[i] = Vec::zero();
  for (int64_t y = 0; y < t.rows; ++y) {
    const float* x = t.x + y * t.x_row;
    const float* grad = t.grad + y * t.grad_row;
    for (int64_t k = 0; k < t.cols; ++k, x += t.x_col, grad += t.grad_col) {
      const Vec g0 = Vec::load(grad), g1 = Vec::load(grad + Vec::width);
      _Pragma("GCC unroll 16") for (int i = 0; i < T; ++i) {
        const Vec v = Vec::broadcast(x[i]);
        low[i] = Vec::fma(v, g0, low[i]);
        high[i] = Vec::fma(v, g1, high[i]);
      }
    }
  }
  _Pragma("GCC unroll 16") for (int i = 0; i < T; ++i, sums += kBlock) {
    Vec::add(Vec::load(sums), low[i]).store(sums);
    Vec::add(Vec::load(sums + Vec::width), high[i]).store(sums + Vec::width);
  }
}

using WeightTile = void (*)(const WeightPlace&, float*);

// The tile of `products` products, 1 to kPositions.
template <int T = kPositions>
inline WeightTile weight_tile_of(int64_t products) {
  if constexpr (T > 1) {
    if (products < T) return weight_tile_of<T - 1>(products);
  }
  return weight_tile<T>;
}

// Adds `products` consecutive products to `sums`, in parts of nearly equal size: small ones are slow.
inline void weight_tiles(WeightPlace t, int64_t products, float* sums) {
  const int64_t parts = (products + kPositions - 1) / kPositions;
  const float* x = t.x;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t start = part * products / parts, end = (part + 1) * products / parts;
    t.x = x + start;
    weight_tile_of(end - start)(t, sums + start * kBlock);
  }
}

inline int64_t blocks_of(const BlockProblem& p) { return round_up(p.group_filters(), kBlock) / kBlock; }

size_t weight_floats(const GradientProblem& q) {
  const BlockProblem& p = q.block;
  return static_cast<size_t>(p.groups * blocks_of(p) * kBlock * p.size * p.size * p.group_channels());
}

// Sums every product over all positions.
struct DirectWeights {
  static int64_t running(const GradientProblem&) { return 0; }
  static void finish(const GradientProblem&, const float*, float*) {}
  static int64_t scratch(const GradientProblem& q) { return layout(q, 0).total; }

  static Layout layout(const GradientProblem& q, int64_t image) {
    Layout l{};
    static_cast<Frame&>(l) = Direct<Single>::frame(q.block, whole_image(q, image));
    l.patch = round_up(l.patch_cols * q.block.channels, 16);
    l.total = l.patch + l.patch_rows * l.patch_cols * q.block.channels;
    return l;
  }

  static void add(const GradientProblem& q, int64_t image, const float* conv_grad, float* sums, float*, float* scratch) {
    const BlockProblem& p = q.block;
    const Layout l = layout(q, image);
    const int64_t row = padded_row(p.filters), channels = p.group_channels();
    float* patch = scratch + l.patch;
    fill_patch<Single>(p, whole_image(q, image), l, scratch, patch);
    constexpr int64_t kBand = 192;  // positions: their gradients and pixels stay in L1 for all tiles
    const int64_t band = kBand / q.conv_cols > 1 ? kBand / q.conv_cols : 1;
    const int64_t run = p.groups == 1 ? p.size * channels : channels;  // consecutive products of a patch row
    const int64_t runs = p.groups == 1 ? 1 : p.size;                  // their number in a patch row
    WeightPlace t{};
    t.x_col = p.stride * p.channels;
    t.x_row = p.stride * l.patch_cols * p.channels;
    t.grad_col = row;
    t.grad_row = q.conv_cols * row;
    t.cols = q.conv_cols;
    for (int64_t y = 0; y < q.conv_rows; y += band) {
      t.rows = smaller(band, q.conv_rows - y);
      float* to = sums;
      for (int64_t g = 0; g < p.groups; ++g) {
        for (int64_t b = 0; b < blocks_of(p); ++b) {
          t.grad = conv_grad + y * t.grad_row + g * p.group_filters() + b * kBlock;
          for (int64_t ky = 0; ky < p.size; ++ky) {
            for (int64_t kx = 0; kx < runs; ++kx, to += run * kBlock) {
              t.x = patch + y * t.x_row + (ky * l.patch_cols + kx) * p.channels + g * channels;
              weight_tiles(t, run, to);
            }
          }
        }
      }
    }
  }
};

// Adds the gradients of one image's convolution outputs, row after row, to that of the bias.
void add_bias(const GradientProblem& q, const float* conv_grad, float* bias) {
  const int64_t row = padded_row(q.block.filters);
  for (int64_t y = 0; y < q.conv_rows; ++y, conv_grad += q.conv_cols * row) {
    for (int64_t f = 0; f < row; f += Vec::width) {
      Vec::add(Vec::load(bias + f), sum_of(conv_grad + f, q.conv_cols, row)).store(bias + f);
    }
  }
}

}  // namespace
}  // namespace dcnn
