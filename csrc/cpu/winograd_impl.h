// The convolution with fewer multiplications, after Winograd, for the vector type `Vec` that the including file defines.
//
// For stride 1 and filters of 5 x 5 or 3 x 3: a tile of M x M outputs, M = 2 or 4, is the sum over channels of 6 x 6 products of
// transformed inputs with transformed filters, 9 or 2.25 for an output where the taps have 25 or 9. One axis: inputs and filters are
// polynomials, evaluated at 0, -a, a, -b, b and infinity, multiplied there and interpolated (Cook and Toom). a = 3/4 and b = 3/2 make
// every constant of the input's transform exact and err least of the points tried: as much as the plain sum in fp32 with M = 2,
// three times as much with M = 4.
// An output's rounding depends on all inputs of its tile, so tiles lie on the lattice that all windows share (`lattice_top`), and
// a plan shares whole tiles.
//
// Layout: the tiles of one or several rows of tiles (`together` conv rows), up to kTiles of them. Columns of the patch are
// transformed downwards, [6][columns][channels]; then across, [36][tiles][channels]; 36 matrix products, each kPositions tiles x 2
// vectors of filters in registers, give [36][tiles][kBlock], which is transformed back into the ring.
// Limit: multiply-adds. On Zen 4 about 80 % of the rate in registers for 64 channels and filters, transforms included.

#pragma once

#include "layout_impl.h"

namespace dcnn {
namespace {

constexpr int64_t kTiles = 32;

struct WinogradFrame {
  int64_t tile_rows, tile_cols;  // of the region
  int64_t at_once;               // tile rows computed together
  int64_t shift_row, shift_col;  // outputs of the first tile that come before the region
  int64_t stride;                // tiles that lie between two of the 36 matrices: odd, so that they don't share cache sets

  int64_t tiles() const { return at_once * tile_cols; }
};

// Down: v[i] of the six inputs x[0], x[step], ...; `Load` and `Store` move one vector.
template <typename Load, typename Store>
inline void winograd_input(const Load& load, const Store& store) {
  const Vec a = Vec::broadcast(0.75f), b = Vec::broadcast(1.5f);
  const Vec aa = Vec::broadcast(-0.5625f), bb = Vec::broadcast(-2.25f);
  const Vec sum = Vec::broadcast(-2.8125f), product = Vec::broadcast(1.265625f);
  const Vec x0 = load(0), x1 = load(1), x2 = load(2), x3 = load(3), x4 = load(4), x5 = load(5);
  store(0, Vec::fma(product, x0, Vec::fma(sum, x2, x4)));
  const Vec even_a = Vec::fma(bb, x2, x4), odd_a = Vec::mul(a, Vec::fma(bb, x1, x3));
  store(1, Vec::sub(even_a, odd_a));
  store(2, Vec::add(even_a, odd_a));
  const Vec even_b = Vec::fma(aa, x2, x4), odd_b = Vec::mul(b, Vec::fma(aa, x1, x3));
  store(3, Vec::sub(even_b, odd_b));
  store(4, Vec::add(even_b, odd_b));
  store(5, Vec::fma(product, x1, Vec::fma(sum, x3, x5)));
}

// The M outputs of six products.
template <int M>
inline void winograd_output(const Vec (&m)[6], Vec (&y)[M]) {
  const Vec even_a = Vec::add(m[2], m[1]), odd_a = Vec::sub(m[2], m[1]);
  const Vec even_b = Vec::add(m[4], m[3]), odd_b = Vec::sub(m[4], m[3]);
  y[0] = Vec::add(Vec::add(m[0], even_a), even_b);
  const Vec odd = Vec::fma(Vec::broadcast(1.5f), odd_b, Vec::mul(Vec::broadcast(0.75f), odd_a));
  if constexpr (M == 2) {
    y[1] = Vec::add(odd, m[5]);
  } else {
    y[1] = odd;
    y[2] = Vec::fma(Vec::broadcast(2.25f), even_b, Vec::mul(Vec::broadcast(0.5625f), even_a));
    y[3] = Vec::add(Vec::fma(Vec::broadcast(3.375f), odd_b, Vec::mul(Vec::broadcast(0.421875f), odd_a)), m[5]);
  }
}

// T tiles x kBlock filters of one of the 36 products.
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

template <int M>
struct Winograd {
  typedef float Element;
  static constexpr int64_t kSize = 7 - M;

  static void put(float value, bool, float* to) { *to = value; }

  static WinogradFrame tiles_of(const RegionRow& r) {
    WinogradFrame f{};
    f.shift_row = (r.lattice_top % M + M) % M;
    f.shift_col = (r.lattice_left % M + M) % M;
    f.tile_rows = (r.rows + f.shift_row + M - 1) / M;
    f.tile_cols = (r.cols + f.shift_col + M - 1) / M;
    f.at_once = f.tile_cols > kTiles ? 1 : smaller(kTiles / f.tile_cols, f.tile_rows);
    f.stride = f.tiles() | 1;
    return f;
  }

  static Frame frame(const BlockProblem&, const RegionRow& r) {
    const WinogradFrame f = tiles_of(r);
    const int64_t groups = (f.tile_rows + f.at_once - 1) / f.at_once;  // the last one may have fewer rows of tiles to compute
    return {f.at_once * M,
            f.shift_row,
            r.top - f.shift_row,
            r.left - f.shift_col,
            groups * f.at_once * M + kSize - 1,
            f.tile_cols * M + kSize - 1};
  }

  static int64_t padded_channels(const BlockProblem& p) { return round_up(p.group_channels(), Vec::width); }

  static int64_t down_floats(const BlockProblem& p, const WinogradFrame& f) {
    return 6 * (f.tile_cols * M + kSize - 1) * padded_channels(p);
  }
  static int64_t across_floats(const BlockProblem& p, const WinogradFrame& f) { return 36 * f.stride * padded_channels(p); }

  static int64_t work(const BlockProblem& p, const RegionRow& r) {
    const WinogradFrame f = tiles_of(r);
    return down_floats(p, f) + across_floats(p, f) + 36 * f.stride * kBlock;
  }

  // One row of tiles of a group's channels: `down` is scratch, `across` takes the tiles from `first` on.
  static void transform_inputs(const BlockProblem& p, const WinogradFrame& f, const float* patch, int64_t patch_row, int64_t first,
                               float* down, float* across) {
    const int64_t channels = padded_channels(p), cols = f.tile_cols * M + kSize - 1;
    for (int64_t x = 0; x < cols; ++x) {
      for (int64_t c = 0; c < channels; c += Vec::width) {
        const float* from = patch + x * p.channels + c;
        float* to = down + x * channels + c;
        winograd_input([&](int64_t i) { return Vec::load(from + i * patch_row); },
                       [&](int64_t i, Vec v) { v.store(to + i * cols * channels); });
      }
    }
    for (int64_t i = 0; i < 6; ++i) {
      for (int64_t t = 0; t < f.tile_cols; ++t) {
        const float* from = down + (i * cols + t * M) * channels;
        float* to = across + (i * 6 * f.stride + first + t) * channels;
        for (int64_t c = 0; c < channels; c += Vec::width) {
          winograd_input([&](int64_t j) { return Vec::load(from + j * channels + c); },
                         [&](int64_t j, Vec v) { v.store(to + j * f.stride * channels + c); });
        }
      }
    }
  }

  // kBlock filters of one row of tiles, bias and ReLU included, to M rows of `out`.
  static void transform_outputs(const RegionRow& r, const WinogradFrame& f, const float* products, const float* bias, float* out,
                                int64_t out_col) {
    for (int64_t t = 0; t < f.tile_cols; ++t) {
      const int64_t x = t * M - f.shift_col;
      for (int64_t v = 0; v < kBlock; v += Vec::width) {
        const float* from = products + t * kBlock + v;
        Vec down[M][6];
        for (int j = 0; j < 6; ++j) {
          Vec m[6], y[M];
          _Pragma("GCC unroll 6") for (int i = 0; i < 6; ++i) m[i] = Vec::load(from + (i * 6 + j) * f.stride * kBlock);
          winograd_output<M>(m, y);
          _Pragma("GCC unroll 4") for (int i = 0; i < M; ++i) down[i][j] = y[i];
        }
        const Vec b = Vec::load(bias + v);
        for (int i = 0; i < M; ++i) {
          Vec y[M];
          winograd_output<M>(down[i], y);
          for (int j = 0; j < M; ++j) {
            if (x + j < 0 || x + j >= r.cols) continue;
            Vec::relu(Vec::add(y[j], b)).store(out + (i * r.cols + x + j) * out_col + v);
          }
        }
      }
    }
  }

  static int64_t rows(const BlockProblem& p, const RegionRow& r, const Layout& l, const float* patch, int64_t y, float* out,
                      float* work) {
    const WinogradFrame f = tiles_of(r);
    float* down = work;
    float* across = down + down_floats(p, f);
    float* products = across + across_floats(p, f);
    const int64_t patch_row = l.patch_cols * p.channels, channels = p.group_channels(), padded = padded_channels(p);
    const int64_t first_row = (y + l.shift) / M, count = smaller(f.at_once, f.tile_rows - first_row), tiles = count * f.tile_cols;
    const int64_t blocks = round_up(p.group_filters(), kBlock) / kBlock;
    const int64_t parts = (tiles + kPositions - 1) / kPositions;
    const float* weight = p.weight;
    for (int64_t g = 0; g < p.groups; ++g) {
      for (int64_t i = 0; i < count; ++i) {
        const float* from = patch + (first_row + i) * M * patch_row + g * channels;
        transform_inputs(p, f, from, patch_row, i * f.tile_cols, down, across);
      }
      for (int64_t b = 0; b < blocks; ++b) {
        for (int64_t point = 0; point < 36; ++point, weight += channels * kBlock) {
          for (int64_t part = 0; part < parts; ++part) {  // parts of nearly the same size: small ones are slow
            const int64_t start = part * tiles / parts, end = (part + 1) * tiles / parts;
            const int64_t at = point * f.stride + start;
            winograd_product_of(end - start)(across + at * padded, padded, channels, weight, products + at * kBlock);
          }
        }
        const int64_t first = (g * blocks + b) * kBlock;
        for (int64_t i = 0; i < count; ++i) {
          float* to = out + i * M * r.cols * l.filters + first;
          transform_outputs(r, f, products + i * f.tile_cols * kBlock, p.bias + first, to, l.filters);
        }
      }
    }
    return f.at_once * M;
  }
};

}  // namespace
}  // namespace dcnn
