// Winograd's convolution, with fewer multiplications, for the vector type `Vec` that the including file defines.
//
// A tile of M x M outputs is the sum over channels of N x N products of transformed inputs with transformed filters of N + 1 -
// M taps. Along one axis, inputs and filters are polynomials, evaluated at N points, multiplied there and interpolated (Cook
// and Toom); the points are 0, infinity and pairs -a, a, for which every constant of the input's transform is exact. A
// convolution of stride s is one of stride 1 over the s x s images of every s-th pixel, whose channels count as channels: 11 x
// 11 at stride 4 is 3 x 3 over sixteen times the channels. Multiplications per output and channel, out of the number of taps:
//   5 x 5   N 8, M 4   4 of 25        11 x 11, stride 2   N 8, M 3   28 of 121
//   3 x 3   N 6, M 4   2.25 of 9      11 x 11, stride 4   N 6, M 4   36 of 121
// These points have the smallest errors among those tried: at most 7e-6 of the largest output with N 8 and 2e-6 with N 6
// (tests/ops/block/test_winograd.py). A plain sum in fp32 errs by less than 1e-6; docs/design.md#tests allows 1.9e-5 and
// 1.1e-5.
// An output's rounding depends on all inputs of its tile, and an infinity or NaN among them spoils the whole tile. Tiles lie on
// the lattice common to all windows (`lattice_top`), and plans share whole tiles (core/plan/axis.h).
//
// Layout: one or several rows of tiles (`together` conv rows) at a time, about kTiles tiles. Columns of the patch are
// transformed downwards, [N][columns][channels]; then across, [N * N][tiles][channels]; N * N matrix products, each kPositions
// tiles x 2 vectors of filters in registers, are transformed back across, N at a time, while in L1: [N][M][tiles][kBlock]; and
// down into the ring.
// Memory besides patch and ring, for 64 channels and filters: 0.75 MB with N 8, 0.42 MB with N 6; filters take 1 and 0.6 MB.
// Limit: multiply-adds of the products, on Zen 4 70 % (5 x 5) and 59 % (3 x 3) of the rate in registers; the rest is
// transforms.

#pragma once

#include <string.h>

#include "layout_impl.h"

namespace dcnn {
namespace {

constexpr int64_t kTiles = 32;

// The constants of a transform of N points.
template <int N>
struct Points {
  static constexpr int kPairs = (N - 2) / 2;
  float at[kPairs] = {};
  float others[kPairs][kPairs] = {};  // coefficients of prod over the other pairs of (z - a^2), lowest first; the last is 1
  float all[kPairs + 1] = {};         // the same over all pairs
  float powers[kPairs][N] = {};       // a^k

  constexpr Points() {
    for (int i = 0; i < kPairs; ++i) at[i] = static_cast<float>(N == 6 ? winograd_points6[i] : winograd_points8[i]);
    multiply(all, kPairs);
    for (int i = 0; i < kPairs; ++i) {
      multiply(others[i], i);
      powers[i][0] = 1.0f;
      for (int k = 1; k < N; ++k) powers[i][k] = powers[i][k - 1] * at[i];
    }
  }

 private:
  constexpr void multiply(float* to, int but) const {
    to[0] = 1.0f;
    int degree = 0;
    for (int i = 0; i < kPairs; ++i) {
      if (i == but) continue;
      ++degree;
      to[degree] = 1.0f;
      for (int k = degree - 1; k >= 0; --k) to[k] = (k > 0 ? to[k - 1] : 0.0f) - at[i] * at[i] * to[k];
    }
  }
};

// The sum of coefficients[k] * x[2 * k] for k up to `degree`, whose coefficient is 1.
inline Vec even_polynomial(const float* coefficients, int degree, const Vec* x) {
  Vec sum = x[2 * degree];
  for (int k = degree - 1; k >= 0; --k) sum = Vec::fma(Vec::broadcast(coefficients[k]), x[2 * k], sum);
  return sum;
}

// Values at the N points for the inputs at from, from + step, ..., to `to`, `to` + to_step, ...
template <int N>
inline void winograd_input(const float* from, int64_t step, float* to, int64_t to_step) {
  constexpr Points<N> points{};
  constexpr int kPairs = Points<N>::kPairs;
  Vec x[N];
  _Pragma("GCC unroll 8") for (int i = 0; i < N; ++i) x[i] = Vec::load(from + i * step);
  even_polynomial(points.all, kPairs, x).store(to);
  _Pragma("GCC unroll 8") for (int i = 0; i < kPairs; ++i) {
    const Vec even = even_polynomial(points.others[i], kPairs - 1, x + 2);
    const Vec odd = Vec::mul(Vec::broadcast(points.at[i]), even_polynomial(points.others[i], kPairs - 1, x + 1));
    Vec::sub(even, odd).store(to + (2 * i + 1) * to_step);
    Vec::add(even, odd).store(to + (2 * i + 2) * to_step);
  }
  even_polynomial(points.all, kPairs, x + 1).store(to + (N - 1) * to_step);
}

// The M outputs from the products at the N points.
template <int N, int M>
inline void winograd_output(const Vec (&m)[N], Vec (&y)[M]) {
  constexpr Points<N> points{};
  constexpr int kPairs = Points<N>::kPairs;
  Vec even[kPairs], odd[kPairs];
  _Pragma("GCC unroll 8") for (int i = 0; i < kPairs; ++i) {
    even[i] = Vec::add(m[2 * i + 2], m[2 * i + 1]);
    odd[i] = Vec::sub(m[2 * i + 2], m[2 * i + 1]);
  }
  _Pragma("GCC unroll 8") for (int k = 0; k < M; ++k) {
    const Vec* terms = k % 2 == 0 ? even : odd;
    Vec sum = k == 0 ? Vec::add(m[0], terms[0]) : Vec::mul(Vec::broadcast(points.powers[0][k]), terms[0]);
    _Pragma("GCC unroll 8") for (int i = 1; i < kPairs; ++i) sum = Vec::fma(Vec::broadcast(points.powers[i][k]), terms[i], sum);
    y[k] = k == M - 1 ? Vec::add(sum, m[N - 1]) : sum;
  }
}

// T tiles x kBlock filters of one product.
template <int T>
void winograd_product(const float* inputs, int64_t inputs_tile, int64_t channels, const float* weight, float* out) {
  constexpr int kPointers = (T + 2) / 3;
  Vec low[T], high[T];
  _Pragma("GCC unroll 16") for (int i = 0; i < T; ++i) low[i] = high[i] = Vec::zero();
  const float* from[kPointers];
  _Pragma("GCC unroll 16") for (int i = 0; i < kPointers; ++i) from[i] = inputs + 3 * i * inputs_tile;
  for (int64_t c = 0; c < channels; ++c, weight += kBlock) {
    const Vec w0 = Vec::load(weight), w1 = Vec::load(weight + Vec::width);
    _Pragma("GCC unroll 16") for (int i = 0; i < T; ++i) {
      const Vec x = Vec::broadcast(from[i / 3][i % 3 * inputs_tile + c]);
      low[i] = Vec::fma(x, w0, low[i]);
      high[i] = Vec::fma(x, w1, high[i]);
    }
  }
  _Pragma("GCC unroll 16") for (int i = 0; i < T; ++i) {
    low[i].store(out + i * kBlock);
    high[i].store(out + i * kBlock + Vec::width);
  }
}

using WinogradProduct = void (*)(const float*, int64_t, int64_t, const float*, float*);

template <int T = kPositions>
inline WinogradProduct winograd_product_of(int64_t tiles) {
  if constexpr (T > 1) {
    if (tiles < T) return winograd_product_of<T - 1>(tiles);
  }
  return winograd_product<T>;
}

// The division of a region into tiles.
struct Tiling {
  int64_t rows, cols;            // of tiles
  int64_t at_once;               // rows of tiles computed together
  int64_t shift_row, shift_col;  // outputs of the first tile before the region
  int64_t input_cols;            // columns of the images of every s-th pixel
  int64_t channels, padded;      // per group, over all images of every s-th pixel; rounded up to whole vectors
  int64_t stride;                // tiles between the products' matrices: odd, to avoid conflicts in cache sets
};

template <int N, int M>
struct Winograd {
  typedef float Element;
  static constexpr int64_t kTaps = N + 1 - M;

  static void put(float value, bool bf16, float* to) { *to = bf16 ? from_bf16(to_bf16(value)) : value; }

  static Tiling tiling(const BlockProblem& p, const RegionRow& r) {
    Tiling t{};
    t.shift_row = (r.lattice_top % M + M) % M;
    t.shift_col = (r.lattice_left % M + M) % M;
    t.rows = (r.rows + t.shift_row + M - 1) / M;
    t.cols = (r.cols + t.shift_col + M - 1) / M;
    t.at_once = t.cols > kTiles ? 1 : smaller(kTiles / t.cols, t.rows);
    t.input_cols = t.cols * M + kTaps - 1;
    t.channels = p.group_channels() * p.stride * p.stride;
    t.padded = round_up(t.channels, Vec::width);
    t.stride = (t.at_once * t.cols + 1) | 1;
    return t;
  }

  static Frame frame(const BlockProblem& p, const RegionRow& r) {
    const Tiling t = tiling(p, r);
    return {t.at_once * M,
            t.shift_row,
            r.top - t.shift_row * p.stride,
            r.left - t.shift_col * p.stride,
            (t.rows * M + kTaps - 1) * p.stride,
            t.input_cols * p.stride};
  }

  static int64_t phased_floats(const BlockProblem& p, const Tiling& t) {
    return p.stride == 1 ? 0 : (N * t.input_cols + 1) * t.padded;
  }
  static int64_t down_floats(const Tiling& t) { return N * t.input_cols * t.padded; }
  static int64_t across_floats(const Tiling& t) { return N * N * t.stride * t.padded; }

  static int64_t work(const BlockProblem& p, const RegionRow& r) {
    const Tiling t = tiling(p, r);
    return phased_floats(p, t) + down_floats(t) + across_floats(t) + N * (1 + M) * t.stride * kBlock;
  }

  // Splits N rows of pixels, the input of a row of tiles, into their images: [N][input_cols][stride, stride, channels]. Copies
  // whole vectors; the next run overwrites the excess of the one before.
  static void split_phases(const BlockProblem& p, const Tiling& t, const float* patch, int64_t patch_row, float* phased) {
    const int64_t runs = p.groups == 1 ? 1 : p.stride;  // without groups, channels of neighbouring pixels are contiguous
    const int64_t run = p.stride / runs * p.group_channels();
    for (int64_t i = 0; i < N; ++i) {
      for (int64_t x = 0; x < t.input_cols; ++x) {
        float* to = phased + (i * t.input_cols + x) * t.padded;
        for (int64_t y = 0; y < p.stride; ++y) {
          for (int64_t at = 0; at < runs; ++at, to += run) {
            const float* from = patch + (i * p.stride + y) * patch_row + (x * p.stride + at) * p.channels;
            for (int64_t k = 0; k < run; k += Vec::width) Vec::load(from + k).store(to + k);
          }
        }
      }
    }
  }

  // Transforms one row of tiles: [N] rows of inputs, `row` and `col` apart, to the matrices' rows from `first` on.
  static void transform_inputs(const Tiling& t, const float* inputs, int64_t row, int64_t col, int64_t first, float* down,
                               float* across) {
    for (int64_t x = 0; x < t.input_cols; ++x) {
      for (int64_t c = 0; c < t.padded; c += Vec::width) {
        winograd_input<N>(inputs + x * col + c, row, down + x * t.padded + c, t.input_cols * t.padded);
      }
    }
    for (int64_t i = 0; i < N; ++i) {
      for (int64_t tile = 0; tile < t.cols; ++tile) {
        const float* from = down + (i * t.input_cols + tile * M) * t.padded;
        float* to = across + (i * N * t.stride + first + tile) * t.padded;
        for (int64_t c = 0; c < t.padded; c += Vec::width) {
          winograd_input<N>(from + c, t.padded, to + c, t.stride * t.padded);
        }
      }
    }
  }

  // Transforms `count` rows of tiles of one group, from the one at the start of `patch`, to the matrices.
  static void enter(const BlockProblem& p, const Tiling& t, const float* patch, int64_t patch_row, int64_t count, float* phased,
                    float* down, float* across) {
    for (int64_t i = 0; i < count; ++i, patch += M * p.stride * patch_row) {
      if (p.stride == 1) {
        transform_inputs(t, patch, patch_row, p.channels, i * t.cols, down, across);
      } else {
        split_phases(p, t, patch, patch_row, phased);
        transform_inputs(t, phased, t.input_cols * t.padded, t.padded, i * t.cols, down, across);
      }
    }
  }

  // Transforms across: N matrices of products become M, `matrix` apart.
  static void transform_products(int64_t tiles, int64_t matrix, const float* products, float* to) {
    for (int64_t at = 0; at < tiles * kBlock; at += Vec::width) {
      Vec m[N], y[M];
      _Pragma("GCC unroll 8") for (int j = 0; j < N; ++j) m[j] = Vec::load(products + j * matrix + at);
      winograd_output<N, M>(m, y);
      _Pragma("GCC unroll 8") for (int j = 0; j < M; ++j) y[j].store(to + j * matrix + at);
    }
  }

  // Transforms down: kBlock filters of one row of tiles, bias and ReLU included, to M rows of `out`.
  static void transform_outputs(const RegionRow& r, const Tiling& t, const float* from, const float* bias, bool linear,
                                float* out, int64_t out_col) {
    const int64_t matrix = t.stride * kBlock, out_row = r.cols * out_col;
    const Vec b[2] = {Vec::load(bias), Vec::load(bias + Vec::width)};
    for (int64_t tile = 0; tile < t.cols; ++tile) {
      for (int64_t j = 0; j < M; ++j) {
        const int64_t x = tile * M - t.shift_col + j;
        if (x < 0 || x >= r.cols) continue;
        _Pragma("GCC unroll 2") for (int v = 0; v < 2; ++v) {
          Vec m[N], y[M];
          const float* at = from + j * matrix + tile * kBlock + v * Vec::width;
          _Pragma("GCC unroll 8") for (int i = 0; i < N; ++i) m[i] = Vec::load(at + i * M * matrix);
          winograd_output<N, M>(m, y);
          _Pragma("GCC unroll 8") for (int i = 0; i < M; ++i) {
            const Vec sum = Vec::add(y[i], b[v]);
            (linear ? sum : Vec::relu(sum)).store(out + i * out_row + x * out_col + v * Vec::width);
          }
        }
      }
    }
  }

  static int64_t rows(const BlockProblem& p, const RegionRow& r, const Layout& l, const float* patch, int64_t y, float* out,
                      float* work) {
    const Tiling t = tiling(p, r);
    float* phased = work;
    float* down = phased + phased_floats(p, t);
    float* across = down + down_floats(t);
    float* products = across + across_floats(t);
    float* half = products + N * t.stride * kBlock;
    const int64_t patch_row = l.patch_cols * p.channels;
    const int64_t first_row = (y + l.shift) / M, count = smaller(t.at_once, t.rows - first_row), tiles = count * t.cols;
    const int64_t blocks = round_up(p.group_filters(), kBlock) / kBlock;
    const int64_t parts = (tiles + kPositions - 1) / kPositions;
    const float* weight = p.weight;
    for (int64_t g = 0; g < p.groups; ++g) {
      const float* from = patch + first_row * M * p.stride * patch_row + g * p.group_channels();
      enter(p, t, from, patch_row, count, phased, down, across);
      for (int64_t b = 0; b < blocks; ++b) {
        for (int64_t i = 0; i < N; ++i) {
          for (int64_t j = 0; j < N; ++j, weight += t.channels * kBlock) {
            const float* inputs = across + (i * N + j) * t.stride * t.padded;
            float* to = products + j * t.stride * kBlock;
            for (int64_t part = 0; part < parts; ++part) {  // parts of nearly equal size: small ones are slow
              const int64_t start = part * tiles / parts, end = (part + 1) * tiles / parts;
              winograd_product_of(end - start)(inputs + start * t.padded, t.padded, t.channels, weight, to + start * kBlock);
            }
          }
          transform_products(tiles, t.stride * kBlock, products, half + i * M * t.stride * kBlock);
        }
        const int64_t first = (g * blocks + b) * kBlock;
        for (int64_t i = 0; i < count; ++i) {
          float* to = out + i * M * r.cols * l.filters + first;
          transform_outputs(r, t, half + i * t.cols * kBlock, p.bias + first, p.linear, to, l.filters);
        }
      }
    }
    return t.at_once * M;
  }
};

}  // namespace
}  // namespace dcnn
