// The convolution as a sum over its taps, for the vector type `Vec` that the including file defines.
//
// Tile: kPositions positions x 2 vectors of filters in registers, with kPositions from the including file; K runs over ky, kx,
// c in that order with one accumulator, so an output's bits are the same wherever it is computed. Positions lie along a row or,
// in a narrow region, in a few rows below each other.
// Limit: multiply-adds. On Zen 4 in fp32, 89 % (11 x 11 x 3, stride 2) and 95 % (5 x 5 x 64) of the rate in registers; shared
// regions with their rims, 79 to 94 % (docs/engine-notes.md).

#pragma once

#include <string.h>

#include "layout_impl.h"

namespace dcnn {
namespace {

// How the instruction set multiplies bfloat16.
#if defined(DCNN_TILES)
constexpr Bf16 kBf16 = Bf16::tiles;
#elif defined(DCNN_BF16_PAIRS)
constexpr Bf16 kBf16 = Bf16::pairs;
#else
constexpr Bf16 kBf16 = Bf16::floats;
#endif

// Forms of products. A patch holds `Element`s; one step takes `kDepth` consecutive ones.
struct Single {
  typedef float Element;
  static constexpr int kDepth = 1;
  static void put(float value, bool bf16, float* to) { *to = bf16 ? from_bf16(to_bf16(value)) : value; }
  static Vec spread(const float* from) { return Vec::broadcast(*from); }
  static Vec spread_rest(const float* from) { return Vec::broadcast(*from); }
  static Vec add(Vec x, Vec w, Vec sum) { return Vec::fma(x, w, sum); }
};

#ifdef DCNN_BF16_PAIRS
struct Pairs {
  typedef uint16_t Element;
  static constexpr int kDepth = 2;
  static void put(float value, bool, uint16_t* to) { *to = to_bf16(value); }
  static Vec spread(const uint16_t* from) {
    uint32_t both;
    memcpy(&both, from, sizeof both);
    return Vec::broadcast_bits(both);
  }
  static Vec spread_rest(const uint16_t* from) { return Vec::broadcast_bits(*from); }  // its neighbour is not part of the run
  static Vec add(Vec x, Vec w, Vec sum) { return Vec::dot(x, w, sum); }
};
#endif

// Conv rows that a region of `cols` columns computes at once.
inline int64_t rows_together(int64_t cols) { return cols > kPositions / 2 ? 1 : kPositions / cols; }

// A tile's operands and destination; steps in elements of the patch and in floats of the output.
template <typename Element>
struct TilePlace {
  const Element* input;  // the first position's, at its first tap
  int64_t input_row;     // between rows of the patch
  int64_t run;           // consecutive products of one patch row
  int64_t runs;          // number of runs in a patch row
  int64_t run_step;      // from run to run, in each of `size` rows
  int64_t size;
  int64_t col_step, row_step;  // between positions along a row and below each other
  const float* weight;
  const float* bias;
  bool linear;  // without the ReLU
  float* out;
  int64_t out_col, out_row;
};

// R x C outputs of one block of filters, bias and ReLU included. Three positions share a pointer: an x86 address adds one or
// two steps for free.
template <typename Products, int R, int C>
void conv_tile(const TilePlace<typename Products::Element>& t) {
  constexpr int kAcross = (C + 2) / 3, kPointers = R * kAcross;
  Vec low[R * C], high[R * C];
  _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) low[i] = high[i] = Vec::zero();
  const float* weight = t.weight;
  const int64_t step = t.col_step, whole = t.run / Products::kDepth * Products::kDepth;
  for (int64_t ky = 0; ky < t.size; ++ky) {
    for (int64_t kx = 0; kx < t.runs; ++kx) {
      const typename Products::Element* from[kPointers];
      _Pragma("GCC unroll 16") for (int i = 0; i < kPointers; ++i) {
        from[i] = t.input + ky * t.input_row + kx * t.run_step + (i / kAcross) * t.row_step + (i % kAcross) * 3 * step;
      }
      int64_t k = 0;
      for (; k < whole; k += Products::kDepth, weight += kBlock) {
        const Vec w0 = Vec::load(weight), w1 = Vec::load(weight + Vec::width);
        _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) {
          const Vec x = Products::spread(&from[i / C * kAcross + i % C / 3][(i % C % 3) * step + k]);
          low[i] = Products::add(x, w0, low[i]);
          high[i] = Products::add(x, w1, high[i]);
        }
      }
      if (k < t.run) {
        const Vec w0 = Vec::load(weight), w1 = Vec::load(weight + Vec::width);
        _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) {
          const Vec x = Products::spread_rest(&from[i / C * kAcross + i % C / 3][(i % C % 3) * step + k]);
          low[i] = Products::add(x, w0, low[i]);
          high[i] = Products::add(x, w1, high[i]);
        }
        weight += kBlock;
      }
    }
  }
  const Vec b0 = Vec::load(t.bias), b1 = Vec::load(t.bias + Vec::width);
  _Pragma("GCC unroll 16") for (int i = 0; i < R * C; ++i) {
    float* out = t.out + (i / C) * t.out_row + (i % C) * t.out_col;
    const Vec sum0 = Vec::add(low[i], b0), sum1 = Vec::add(high[i], b1);
    (t.linear ? sum0 : Vec::relu(sum0)).store(out);
    (t.linear ? sum1 : Vec::relu(sum1)).store(out + Vec::width);
  }
}

template <typename Products>
using Tile = void (*)(const TilePlace<typename Products::Element>&);

// The tile of one row and `cols` columns, 1 to kPositions.
template <typename Products, int C = kPositions>
inline Tile<Products> row_tile(int64_t cols) {
  if constexpr (C > 1) {
    if (cols < C) return row_tile<Products, C - 1>(cols);
  }
  return conv_tile<Products, 1, C>;
}

// The tile of rows_together(cols) rows and `cols` columns, 1 to kPositions / 2.
template <typename Products, int C = kPositions / 2>
inline Tile<Products> narrow_tile(int64_t cols) {
  if constexpr (C > 1) {
    if (cols < C) return narrow_tile<Products, C - 1>(cols);
  }
  return conv_tile<Products, kPositions / C, C>;
}

// Writes conv rows y ... y + count - 1 to `out`, row after row; count is 1 or l.together.
template <typename Products>
void direct_rows(const BlockProblem& p, const RegionRow& r, const Layout& l, const typename Products::Element* patch, int64_t y,
               int64_t count, float* out) {
  const int64_t blocks = round_up(p.group_filters(), kBlock) / kBlock;
  TilePlace<typename Products::Element> t{};
  t.input_row = l.patch_cols * p.channels;
  t.run = p.groups == 1 ? p.size * p.channels : p.group_channels();  // without groups a row's taps and channels are contiguous
  t.runs = p.groups == 1 ? 1 : p.size;
  t.run_step = p.channels;
  t.size = p.size;
  t.col_step = p.stride * p.channels;
  t.row_step = p.stride * t.input_row;
  t.weight = p.weight;
  t.linear = p.linear;
  t.out_col = l.filters;
  t.out_row = r.cols * l.filters;
  const int64_t block_weights = p.size * t.runs * ((t.run + Products::kDepth - 1) / Products::kDepth) * kBlock;
  for (int64_t g = 0; g < p.groups; ++g) {
    const typename Products::Element* rows = patch + y * p.stride * t.input_row + g * p.group_channels();
    for (int64_t b = 0; b < blocks; ++b, t.weight += block_weights) {
      const int64_t first = (g * blocks + b) * kBlock;
      t.bias = p.bias + first;
      const int64_t across = count > 1 ? r.cols : kPositions;
      for (int64_t x = 0; x < r.cols; x += across) {
        const int64_t cols = r.cols - x < across ? r.cols - x : across;
        t.input = rows + x * t.col_step;
        t.out = out + x * l.filters + first;
        (count > 1 ? narrow_tile<Products>(cols) : row_tile<Products>(cols))(t);
      }
    }
  }
}

template <typename Products>
struct Direct {
  typedef typename Products::Element Element;
  static void put(float value, bool bf16, Element* to) { Products::put(value, bf16, to); }
  static Frame frame(const BlockProblem& p, const RegionRow& r) {
    return {rows_together(r.cols), 0, r.top, r.left, (r.rows - 1) * p.stride + p.size, (r.cols - 1) * p.stride + p.size};
  }
  static int64_t work(const BlockProblem&, const RegionRow&) { return 0; }
  static int64_t rows(const BlockProblem& p, const RegionRow& r, const Layout& l, const Element* patch, int64_t y, float* out,
                      float*) {
    const int64_t count = r.rows - y < l.together ? 1 : l.together;
    direct_rows<Products>(p, r, l, patch, y, count, out);
    return count;
  }
};

}  // namespace
}  // namespace dcnn
