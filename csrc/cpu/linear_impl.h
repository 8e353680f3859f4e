// y = x * weight^T + bias, for the vector type `Vec` that the including file defines.
//
// Each output has one vector accumulator that takes K in steps of the vector's width and is summed across at the end, so its
// bits depend only on its own row and weights. K is cut into chunks that keep x in L2, and these into parts that keep a tile's
// weights in L1; the accumulators stay in scratch in between, so weights are read once for up to kRowBlock rows. Tile: 4 rows x
// kOutputs outputs in registers, with kOutputs from the including file. Memory: rows x outputs vectors of sums in scratch.
// Limit: multiply-adds, 73 % of the rate in registers at 25 and 50 rows on Zen 4; with few rows, reading the weights.

#pragma once

#include <string.h>

#include "kernel.h"

namespace dcnn {
namespace {

constexpr int kRows = 4;
constexpr int64_t kRowBlock = 64, kChunk = 2048, kPart = 512;
static_assert(kPart % (2 * Vec::width) == 0, "a part is whole vectors");

size_t linear_scratch(const LinearProblem& p, int64_t first, int64_t last) {
  const int64_t rows = p.rows < kRowBlock ? p.rows : kRowBlock;
  return static_cast<size_t>(rows * (last - first) * Vec::width);
}

// Products of rows and weights: a step takes kStep values of each.
struct SingleRows {
  typedef float Element;
  static constexpr int64_t kStep = Vec::width;
  static Vec add(Vec x, Vec w, Vec sum) { return Vec::fma(x, w, sum); }
};

#ifdef DCNN_BF16_PAIRS
struct PairRows {
  typedef uint16_t Element;
  static constexpr int64_t kStep = 2 * Vec::width;
  static Vec add(Vec x, Vec w, Vec sum) { return Vec::dot(x, w, sum); }
};
#endif

template <typename Element>
inline Vec load_step(const Element* from) {
  return Vec::load(reinterpret_cast<const float*>(from));
}

template <typename Element>
inline Vec load_tail(const Element* from, int64_t count) {
  float padded[Vec::width] = {};
  memcpy(padded, from, static_cast<size_t>(count) * sizeof(Element));
  return Vec::load(padded);
}

// Advances R x O accumulators over k in [start, end).
template <typename Products, int R, int O>
inline void linear_tile(const typename Products::Element* x, const typename Products::Element* weight, int64_t inputs,
                        int64_t start, int64_t end, float* sums, int64_t sums_row) {
  Vec acc[R][O];
  _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {
    _Pragma("GCC unroll 8") for (int o = 0; o < O; ++o) acc[r][o] = Vec::load(sums + r * sums_row + o * Vec::width);
  }
  int64_t k = start;
  for (; k + Products::kStep <= end; k += Products::kStep) {
    Vec w[O];
    _Pragma("GCC unroll 8") for (int o = 0; o < O; ++o) w[o] = load_step(weight + o * inputs + k);
    _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {
      const Vec v = load_step(x + r * inputs + k);
      _Pragma("GCC unroll 8") for (int o = 0; o < O; ++o) acc[r][o] = Products::add(v, w[o], acc[r][o]);
    }
  }
  if (k < end) {
    _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {
      const Vec v = load_tail(x + r * inputs + k, end - k);
      _Pragma("GCC unroll 8") for (int o = 0; o < O; ++o) {
        acc[r][o] = Products::add(v, load_tail(weight + o * inputs + k, end - k), acc[r][o]);
      }
    }
  }
  _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {
    _Pragma("GCC unroll 8") for (int o = 0; o < O; ++o) acc[r][o].store(sums + r * sums_row + o * Vec::width);
  }
}

template <typename Products, int R>
void linear_rows(const LinearProblem& p, int64_t row, int64_t start, int64_t end, int64_t first, int64_t last, float* sums,
                 int64_t sums_row) {
  const auto* x = static_cast<const typename Products::Element*>(p.x) + row * p.inputs;
  const auto* weight = static_cast<const typename Products::Element*>(p.weight);
  int64_t n = first;
  for (; n + kOutputs <= last; n += kOutputs) {
    linear_tile<Products, R, kOutputs>(x, weight + n * p.inputs, p.inputs, start, end, sums + (n - first) * Vec::width, sums_row);
  }
  for (; n < last; ++n) {
    linear_tile<Products, R, 1>(x, weight + n * p.inputs, p.inputs, start, end, sums + (n - first) * Vec::width, sums_row);
  }
}

void finish(const LinearProblem& p, int64_t row, int64_t rows, int64_t first, int64_t last, const float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = first; n < last; ++n, sums += Vec::width) {
      float total = sums[0];
      for (int i = 1; i < Vec::width; ++i) total += sums[i];
      total += p.bias[n];
      p.y[(row + r) * p.outputs + n] = p.relu && total < 0.0f ? 0.0f : total;
    }
  }
}

// Multiplies all rows with inputs [start, end) of outputs [first, last), whose weights stay in L1. Each tile also prefetches a
// share of the weights of the following inputs: the processor alone prefetches too few of them in time.
template <typename Products>
void linear_part(const LinearProblem& p, int64_t row, int64_t rows, int64_t start, int64_t end, int64_t first, int64_t last,
                 float* sums, int64_t sums_row) {
  constexpr int64_t kLine = 64 / sizeof(typename Products::Element), kLines = kPart / kLine;
  const auto* next = static_cast<const typename Products::Element*>(p.weight) + end;
  const int64_t tiles = rows / kRows;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t line = tile * kLines / tiles; line < (tile + 1) * kLines / tiles; ++line) {
      for (int64_t n = first; n < last; ++n) __builtin_prefetch(next + n * p.inputs + line * kLine);
    }
    const int64_t r = tile * kRows;
    linear_rows<Products, kRows>(p, row + r, start, end, first, last, sums + r * sums_row, sums_row);
  }
  const int64_t r = tiles * kRows;
  if (r == rows) return;
  const auto rest = rows - r == 3   ? linear_rows<Products, 3>
                    : rows - r == 2 ? linear_rows<Products, 2>
                                    : linear_rows<Products, 1>;
  rest(p, row + r, start, end, first, last, sums + r * sums_row, sums_row);
}

template <typename Products>
void run_linear_with(const LinearProblem& p, int64_t first, int64_t last, float* sums) {
  const int64_t sums_row = (last - first) * Vec::width;
  for (int64_t row = 0; row < p.rows; row += kRowBlock) {
    const int64_t rows = p.rows - row < kRowBlock ? p.rows - row : kRowBlock;
    memset(sums, 0, static_cast<size_t>(rows * sums_row) * sizeof(float));
    for (int64_t start = 0; start < p.inputs; start += kChunk) {
      const int64_t end = start + kChunk < p.inputs ? start + kChunk : p.inputs;
      for (int64_t n = first; n < last; n += kOutputs) {
        const int64_t stop = n + kOutputs < last ? n + kOutputs : last;
        for (int64_t from = start; from < end; from += kPart) {
          const int64_t to = from + kPart < end ? from + kPart : end;
          linear_part<Products>(p, row, rows, from, to, n, stop, sums + (n - first) * Vec::width, sums_row);
        }
      }
    }
    finish(p, row, rows, first, last, sums);
  }
}

void run_linear(const LinearProblem& p, int64_t first, int64_t last, float* sums) {
#ifdef DCNN_BF16_PAIRS
  if (p.bf16) return run_linear_with<PairRows>(p, first, last, sums);
#endif
  run_linear_with<SingleRows>(p, first, last, sums);
}

}  // namespace
}  // namespace dcnn
