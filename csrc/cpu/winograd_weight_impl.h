// The gradient of the weights with fewer multiplications, for the vector type `Vec` that the including file defines: the transpose of
// winograd_impl.h in the filters.
//
// A tile's share is G^T [(A g A^T) (B^T d B)] G, where g are the M x M gradients of its outputs, d its N x N inputs, B^T and
// A^T the transforms of winograd_impl.h for inputs and outputs, G that for filters, and the product is taken point by point.
// Only the products are summed over tiles and images; G^T is applied once for a chunk of images. Multiplications are those of
// the forward in tiles: 4 per output, channel and filter of 5 x 5 taps, instead of 25.
// Errors are at most 7e-6 of the largest gradient with N 8 and M 4, 1.2e-5 with N 8 and M 3, 2e-6 with N 6
// (tests/ops/block/test_first_ties.py); sums over positions err by 4e-7.
//
// Layout: several rows of tiles at a time, about kTogether tiles. Inputs [N * N][tiles][channels] as in winograd_impl.h, and
// for each block of filters gradients [N * N][tiles][kBlock]; sums over the tiles of each pair of points are formed in
// registers (weight_impl.h) and go to [groups][blocks][N * N][channels][kBlock].
// Memory: one image's patch and, for 64 channels and filters and N 8, 1 MB for the inputs, 0.6 MB for gradients, 1 MB for sums.
// Limit: multiply-adds of the products.

#pragma once

#include "filter_transform.h"
#include "weight_impl.h"
#include "winograd_impl.h"

namespace dcnn {
namespace {

// Values at the N points for the M gradients.
template <int N, int M>
inline void winograd_gradient(const Vec (&g)[M], float* to, int64_t step) {
  constexpr Points<N> points{};
  g[0].store(to);
  _Pragma("GCC unroll 8") for (int i = 0; i < Points<N>::kPairs; ++i) {
    Vec even = g[0], odd = Vec::mul(Vec::broadcast(points.powers[i][1]), g[1]);
    _Pragma("GCC unroll 8") for (int k = 2; k < M; ++k) {
      Vec& sum = k % 2 == 0 ? even : odd;
      sum = Vec::fma(Vec::broadcast(points.powers[i][k]), g[k], sum);
    }
    Vec::sub(even, odd).store(to + (2 * i + 1) * step);
    Vec::add(even, odd).store(to + (2 * i + 2) * step);
  }
  g[M - 1].store(to + (N - 1) * step);
}

template <int N, int M>
struct WinogradWeights {
  typedef Winograd<N, M> Conv;
  static constexpr int64_t kTogether = 64;

  struct Place : Layout {
    Tiling tiling;
    int64_t phased, down, across, grad_down, grad_across;
  };

  static Place place(const GradientProblem& q, int64_t image) {
    const BlockProblem& p = q.block;
    Place l{};
    static_cast<Frame&>(l) = Conv::frame(p, whole_image(q, image));
    Tiling& t = l.tiling;
    t = Conv::tiling(p, whole_image(q, image));
    t.at_once = t.cols > kTogether ? 1 : smaller(kTogether / t.cols, t.rows);
    t.stride = (t.at_once * t.cols + 1) | 1;
    const auto take = [&l](int64_t floats) {
      const int64_t start = l.total;
      l.total += round_up(floats, 16);
      return start;
    };
    l.means = take(l.patch_cols * p.channels);
    l.patch = take(l.patch_rows * l.patch_cols * p.channels);
    l.phased = take(Conv::phased_floats(p, t));
    l.down = take(Conv::down_floats(t));
    l.across = take(Conv::across_floats(t));
    l.grad_down = take(N * t.cols * M * kBlock);
    l.grad_across = take(N * N * t.stride * kBlock);
    return l;
  }

  static int64_t scratch(const GradientProblem& q) { return place(q, 0).total; }

  static int64_t running(const GradientProblem& q) {
    const BlockProblem& p = q.block;
    return round_up(p.groups * blocks_of(p) * N * N * p.group_channels() * p.stride * p.stride * kBlock, 16);
  }

  // Transforms kBlock filters of one row of tiles, `rows` of [M] rows of gradients, to the matrices' rows from `first` on.
  static void transform_gradients(const GradientProblem& q, const Tiling& t, const float* grad, int64_t rows, int64_t first,
                                  float* down, float* across) {
    const int64_t col = padded_row(q.block.filters), row = q.conv_cols * col, wide = t.cols * M * kBlock;
    for (int64_t x = 0; x < t.cols * M; ++x) {
      for (int64_t v = 0; v < kBlock; v += Vec::width) {
        Vec g[M];
        _Pragma("GCC unroll 8") for (int k = 0; k < M; ++k) {
          g[k] = k < rows && x < q.conv_cols ? Vec::load(grad + k * row + x * col + v) : Vec::zero();
        }
        winograd_gradient<N, M>(g, down + x * kBlock + v, wide);
      }
    }
    for (int64_t i = 0; i < N; ++i) {
      for (int64_t tile = 0; tile < t.cols; ++tile) {
        for (int64_t v = 0; v < kBlock; v += Vec::width) {
          const float* from = down + i * wide + tile * M * kBlock + v;
          Vec g[M];
          _Pragma("GCC unroll 8") for (int k = 0; k < M; ++k) g[k] = Vec::load(from + k * kBlock);
          winograd_gradient<N, M>(g, across + (i * N * t.stride + first + tile) * kBlock + v, t.stride * kBlock);
        }
      }
    }
  }

  // Adds the products of some tiles to the sums of each pair of points.
  static void add_products(const Tiling& t, int64_t tiles, const float* inputs, const float* grads, float* sums) {
    WeightPlace place{};
    place.x_col = t.padded;
    place.grad_col = kBlock;
    place.rows = 1;
    place.cols = tiles;
    for (int64_t point = 0; point < N * N; ++point, sums += t.channels * kBlock) {
      place.x = inputs + point * t.stride * t.padded;
      place.grad = grads + point * t.stride * kBlock;
      weight_tiles(place, t.channels, sums);
    }
  }

  static void add(const GradientProblem& q, int64_t image, const float* conv_grad, float*, float* running, float* scratch) {
    const BlockProblem& p = q.block;
    const Place l = place(q, image);
    const Tiling& t = l.tiling;
    const int64_t row = padded_row(p.filters), blocks = blocks_of(p);
    float *patch = scratch + l.patch, *across = scratch + l.across, *grads = scratch + l.grad_across;
    fill_patch<Conv>(p, whole_image(q, image), l, scratch + l.means, patch);
    for (int64_t start = 0; start < t.rows; start += t.at_once) {
      const int64_t count = smaller(t.at_once, t.rows - start);
      float* sums = running;
      for (int64_t g = 0; g < p.groups; ++g) {
        const float* from = patch + start * M * p.stride * l.patch_cols * p.channels + g * p.group_channels();
        Conv::enter(p, t, from, l.patch_cols * p.channels, count, scratch + l.phased, scratch + l.down, across);
        for (int64_t b = 0; b < blocks; ++b, sums += N * N * t.channels * kBlock) {
          const float* grad = conv_grad + g * p.group_filters() + b * kBlock;
          for (int64_t i = 0; i < count; ++i) {
            const int64_t y = (start + i) * M;
            transform_gradients(q, t, grad + y * q.conv_cols * row, q.conv_rows - y, i * t.cols, scratch + l.grad_down, grads);
          }
          add_products(t, count * t.cols, across, grads, sums);
        }
      }
    }
  }

  // Transforms one vector of filters of one channel: [N * N] sums, `step` floats apart, become [kTaps][kTaps].
  static void transform_sums(const FilterTransform& transform, const float* from, int64_t step, Vec (&taps)[Conv::kTaps][Conv::kTaps]) {
    Vec down[Conv::kTaps][N];
    for (int j = 0; j < N; ++j) {
      for (int k = 0; k < Conv::kTaps; ++k) {
        Vec sum = Vec::zero();
        for (int i = 0; i < N; ++i) {
          sum = Vec::fma(Vec::broadcast(static_cast<float>(transform.values[k][i])), Vec::load(from + (i * N + j) * step), sum);
        }
        down[k][j] = sum;
      }
    }
    for (int k = 0; k < Conv::kTaps; ++k) {
      for (int x = 0; x < Conv::kTaps; ++x) {
        Vec sum = Vec::zero();
        for (int j = 0; j < N; ++j) sum = Vec::fma(Vec::broadcast(static_cast<float>(transform.values[x][j])), down[k][j], sum);
        taps[k][x] = sum;
      }
    }
  }

  static void finish(const GradientProblem& q, const float* running, float* sums) {
    const BlockProblem& p = q.block;
    const int64_t stride = p.stride, per_group = p.group_channels(), channels = per_group * stride * stride;
    const FilterTransform transform(Conv::kTaps);
    for (int64_t owner = 0; owner < p.groups * blocks_of(p); ++owner) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t phase_y = c / (stride * per_group), phase_x = c / per_group % stride;
        const float* from = running + (owner * N * N * channels + c) * kBlock;
        float* to = sums + (owner * p.size * p.size * per_group + c % per_group) * kBlock;
        for (int64_t v = 0; v < kBlock; v += Vec::width) {
          Vec taps[Conv::kTaps][Conv::kTaps];
          transform_sums(transform, from + v, channels * kBlock, taps);
          for (int64_t y = phase_y, k = 0; y < p.size; y += stride, ++k) {
            for (int64_t x = phase_x, j = 0; x < p.size; x += stride, ++j) {
              taps[k][j].store(to + (y * p.size + x) * per_group * kBlock + v);
            }
          }
        }
      }
    }
  }
};

}  // namespace
}  // namespace dcnn
