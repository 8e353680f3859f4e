// y = x * weight^T + bias on a tile unit, in bfloat16; for the tile operations (tile_amx.h) that the including file defines.
//
// Weights are the left operand, read in place: 16 outputs of 32 values each are a tile, up to 64 rows of x another four, so
// every weight is read once for 64 rows. x is packed once, before threads share the outputs. K always runs in the same steps of
// 32, each summed inside the tile unit, so a row's bits do not depend on its column or tile. Between chunks of K, which keep x
// in L2, the sums stay in scratch.
// Layout: x as [64 rows][step][16 rows][16 pairs][16 rows][2], padded with zeros in rows and inputs.
// Memory: a copy of x, and sums of the outputs for 64 rows. Limit: reading the weights; docs/engine-notes.md lists the kernels
// that were run.

#pragma once

#include <string.h>

#include "amx_tiles_impl.h"
#include "linear_impl.h"

namespace dcnn {
namespace {

constexpr int64_t kTileChunk = 32;  // steps per chunk
static_assert(kRowBlock == 4 * kTileSide, "four tiles of sums");

inline int64_t tiles_of(int64_t count) { return (count + kTileSide - 1) / kTileSide; }

inline int64_t linear_steps(const LinearProblem& p) { return (p.inputs + kTileDepth - 1) / kTileDepth; }

inline int64_t rows_from(const LinearProblem& p, int64_t row) { return p.rows - row < kRowBlock ? p.rows - row : kRowBlock; }

size_t tile_rows_floats(const LinearProblem& p) { return static_cast<size_t>(tiles_of(p.rows) * linear_steps(p) * kTileFloats); }

void tile_pack_rows(const LinearProblem& p, float* packed) {
  const auto* x = static_cast<const uint16_t*>(p.x);
  auto* to = reinterpret_cast<uint32_t*>(packed);
  for (int64_t block = 0; block < p.rows; block += kRowBlock) {
    const int64_t rows = rows_from(p, block), tiles = tiles_of(rows);
    for (int64_t k = 0; k < p.inputs; k += kTileDepth) {
      const size_t values = static_cast<size_t>(p.inputs - k < kTileDepth ? p.inputs - k : kTileDepth);
      for (int64_t r = 0; r < tiles * kTileSide; ++r) {
        uint32_t pairs[kTileSide] = {};
        if (r < rows) memcpy(pairs, x + (block + r) * p.inputs + k, values * sizeof *x);
        uint32_t* column = to + r / kTileSide * kTileFloats + r % kTileSide;
        for (int64_t i = 0; i < kTileSide; ++i) column[i * kTileSide] = pairs[i];
      }
      to += tiles * kTileFloats;
    }
  }
}

// Scratch for 16 outputs: sums for 64 rows, and the weights of the last step where the inputs are not whole steps.
constexpr int64_t kPieceFloats = 4 * kTileFloats + kTileFloats;

size_t tile_linear_scratch(const LinearProblem& p, int64_t first, int64_t last) {
  return p.bf16 ? static_cast<size_t>(tiles_of(last - first) * kPieceFloats) : linear_scratch(p, first, last);
}

template <int T>
inline void linear_products(const uint16_t* x, const uint16_t* weight, int64_t weight_bytes, int64_t steps) {
  for (int64_t i = 0; i < steps; ++i, x += T * kTileValues, weight += kTileDepth) {
    tile_load<4>(weight, weight_bytes);
    tile_load<5>(x, 64);
    tile_dot<0, 4, 5>();
    if constexpr (T > 1) {
      tile_load<6>(x + kTileValues, 64);
      tile_dot<1, 4, 6>();
    }
    if constexpr (T > 2) {
      tile_load<7>(x + 2 * kTileValues, 64);
      tile_dot<2, 4, 7>();
    }
    if constexpr (T > 3) {
      tile_load<5>(x + 3 * kTileValues, 64);
      tile_dot<3, 4, 5>();
    }
  }
}

inline void linear_products_of(int64_t tiles, const uint16_t* x, const uint16_t* weight, int64_t weight_bytes, int64_t steps) {
  switch (tiles) {
    case 1: return linear_products<1>(x, weight, weight_bytes, steps);
    case 2: return linear_products<2>(x, weight, weight_bytes, steps);
    case 3: return linear_products<3>(x, weight, weight_bytes, steps);
    default: return linear_products<4>(x, weight, weight_bytes, steps);
  }
}

void tile_linear_bf16(const LinearProblem& p, int64_t first, int64_t last, float* scratch) {
  // The last tile takes the last 16 outputs, even where it overlaps the one before, so that it never reads past the weights.
  const int64_t height = p.outputs < kTileSide ? p.outputs : kTileSide, pieces = tiles_of(last - first);
  const auto start_of = [&](int64_t piece) {
    const int64_t n = first + piece * kTileSide;
    return n < p.outputs - height ? n : p.outputs - height;
  };
  const auto* weight = static_cast<const uint16_t*>(p.weight);
  const int64_t steps = linear_steps(p), whole = p.inputs / kTileDepth, rest = p.inputs % kTileDepth;
  for (int64_t piece = 0; piece < pieces && rest > 0; ++piece) {
    auto* tail = reinterpret_cast<uint16_t*>(scratch + piece * kPieceFloats + 4 * kTileFloats);
    memset(tail, 0, kTileFloats * sizeof(float));
    for (int64_t i = 0; i < height; ++i) {
      memcpy(tail + i * kTileDepth, weight + (start_of(piece) + i) * p.inputs + whole * kTileDepth,
             static_cast<size_t>(rest) * sizeof *tail);
    }
  }
  const TilesInUse tiles_in_use(height);
  const auto* x = reinterpret_cast<const uint16_t*>(p.packed_rows);
  for (int64_t row = 0; row < p.rows; row += kRowBlock) {
    const int64_t rows = rows_from(p, row), tiles = tiles_of(rows);
    for (int64_t step = 0; step < steps; step += kTileChunk) {
      const int64_t end = step + kTileChunk < steps ? step + kTileChunk : steps, direct = (end < whole ? end : whole) - step;
      const uint16_t* chunk = x + step * tiles * kTileValues;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        float* sums = scratch + piece * kPieceFloats;
        if (step == 0) {
          tile_zero<0>();
          tile_zero<1>();
          tile_zero<2>();
          tile_zero<3>();
        } else {
          tile_load<0>(sums, 64);
          tile_load<1>(sums + kTileFloats, 64);
          tile_load<2>(sums + 2 * kTileFloats, 64);
          tile_load<3>(sums + 3 * kTileFloats, 64);
        }
        linear_products_of(tiles, chunk, weight + start_of(piece) * p.inputs + step * kTileDepth, 2 * p.inputs, direct);
        if (end == steps && rest > 0) {
          const auto* tail = reinterpret_cast<const uint16_t*>(sums + 4 * kTileFloats);
          linear_products_of(tiles, chunk + direct * tiles * kTileValues, tail, 64, 1);
        }
        tile_store<0>(sums, 64);
        tile_store<1>(sums + kTileFloats, 64);
        tile_store<2>(sums + 2 * kTileFloats, 64);
        tile_store<3>(sums + 3 * kTileFloats, 64);
      }
    }
    for (int64_t n = first; n < last; ++n) {
      const int64_t piece = (n - first) / kTileSide;
      const float* sums = scratch + piece * kPieceFloats + (n - start_of(piece)) * kTileSide;
      for (int64_t r = 0; r < rows; ++r) {
        const float total = sums[r / kTileSide * kTileFloats + r % kTileSide] + p.bias[n];
        p.y[(row + r) * p.outputs + n] = p.relu && total < 0.0f ? 0.0f : total;
      }
    }
    x += tiles * steps * kTileValues;
  }
}

void tile_run_linear(const LinearProblem& p, int64_t first, int64_t last, float* scratch) {
  p.bf16 ? tile_linear_bf16(p, first, last, scratch) : run_linear(p, first, last, scratch);
}

}  // namespace
}  // namespace dcnn
