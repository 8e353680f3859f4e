// The convolution as a sum over its taps on a tile unit, in bfloat16 or in three products of bfloat16 parts; for the vector type
// `Vec` and the tile operations (tile_amx.h) that the including file defines.
//
// Tile: 2 x 16 positions x 2 x 16 filters in four tiles of sums; two tiles of positions, two of weights. A tile of positions is
// read in place from the patch, 64 bytes of a row's taps and channels for each position: along rows, several rows of a narrow
// patch at once (products of the gaps between rows are computed and dropped), or, in a narrow region, down its columns. The
// remainder of a filter row after whole 64 bytes is gathered (tile_steps.h): of 11 x 11 x 3, one value of 33. K always runs in
// the same steps, each summed inside the tile unit, so an output's bits do not depend on its tile or its place in it.
// Layout: weights [group][block][part][step][2][16 pairs][16 filters][2]; gathered [part][tile][step][16 positions][32].
// Memory: the gathered values, 4 KiB of sums; with parts, both parts of the patch.
// Limit: the tile unit's products; docs/engine-notes.md gives the predicted share of useful ones and lists the kernels that
// were run.

#pragma once

#include <string.h>

#include "amx_tiles_impl.h"
#include "layout_impl.h"

namespace dcnn {
namespace {

static_assert(kBlock == 2 * kTileSide, "a block of filters is two tiles");

// How a group of conv rows is cut into tiles: along the flat sequence of its positions, or down each of its columns.
struct TileCut {
  bool down;
  int64_t pitch;  // positions from one row to the next in the flat sequence

  int64_t along(int64_t rows, int64_t cols) const {  // tiles of the flat sequence, or of one column
    return ((down ? rows : (rows - 1) * pitch + cols) + kTileSide - 1) / kTileSide;
  }
  int64_t tiles(int64_t rows, int64_t cols) const { return along(rows, cols) * (down ? cols : 1); }
};

// The cut with fewer tiles for groups of `together` rows.
inline TileCut tile_cut(const BlockProblem& p, const RegionRow& r, int64_t together) {
  const TileCut flat{false, (r.cols - 1) * p.stride + p.size}, down{true, flat.pitch};
  return down.tiles(together, r.cols) < flat.tiles(together, r.cols) ? down : flat;
}

// Conv rows to compute together: the number that takes the fewest tiles while the ring of conv rows stays in L2.
inline int64_t tile_rows_together(const BlockProblem& p, const RegionRow& r) {
  constexpr int64_t kRingFloats = 32768, kFlatRows = 8;
  const int64_t row = r.cols * padded_filters(p, kBlock), before = smaller(p.pool_size, r.rows) - 1;
  int64_t best = 1, fewest = tile_cut(p, r, 1).tiles(1, r.cols) * r.rows;
  const auto consider = [&](int64_t together) {
    if (round_up(before + together, together) * row > kRingFloats) return;
    const TileCut cut = tile_cut(p, r, together);
    const int64_t rest = r.rows % together;
    const int64_t tiles = r.rows / together * cut.tiles(together, r.cols) + (rest > 0 ? cut.tiles(rest, r.cols) : 0);
    if (tiles >= fewest) return;
    fewest = tiles;
    best = together;
  };
  for (int64_t together = 2; together <= smaller(kFlatRows, r.rows); ++together) consider(together);
  for (int64_t together = kTileSide; together < r.rows; together += kTileSide) consider(together);
  consider(r.rows);
  return best;
}

// Operands rounded to bfloat16, stored so in the patch.
struct Rounded {
  typedef uint16_t Element;
  static constexpr int64_t kParts = 1;
  static void put(float value, uint16_t* to) { *to = to_bf16(value); }
};

// Operands as sums of two bfloat16, a higher and a lower part. An output's products are those of the (lower, higher), (higher,
// lower) and (higher, higher) parts of pixels and weights, in this order. Once read, the patch is split into two of uint16_t.
struct Split {
  typedef float Element;
  static constexpr int64_t kParts = 2;
  static void put(float value, float* to) { *to = value; }
};

// Operands of one group of tiles.
struct TileOperands {
  const uint16_t* patch[2];  // each tile's first position, at its first tap
  const uint16_t* gathered[2];
  int64_t position;   // elements of the patch between a tile's positions
  int64_t input_row;  // and between its patch rows
  const uint16_t* weight;
};

// Multiplies P tiles of positions, `row_bytes` apart, with a block's weights of one step.
template <int P>
inline void tile_step(const uint16_t* const from[2], int64_t offset, int64_t row_bytes, const uint16_t* weight) {
  tile_load<5>(weight, 64);
  tile_load<6>(weight + kTileValues, 64);
  tile_load<4>(from[0] + offset, row_bytes);
  tile_dot<0, 4, 5>();
  tile_dot<1, 4, 6>();
  if constexpr (P == 2) {
    tile_load<7>(from[1] + offset, row_bytes);
    tile_dot<2, 7, 5>();
    tile_dot<3, 7, 6>();
  }
}

// Adds all products of P tiles of positions and a block of filters to the sums.
template <int P>
void tile_products(const TileSteps& s, const TileOperands& t) {
  constexpr int64_t kStep = 2 * kTileValues;
  const uint16_t* weight = t.weight;
  for (int64_t ky = 0; ky < s.size; ++ky) {
    for (int64_t kx = 0; kx < s.runs; ++kx) {
      const int64_t run = ky * t.input_row + kx * s.run_step;
      for (int64_t i = 0; i < s.whole; ++i, weight += kStep) tile_step<P>(t.patch, run + i * kTileDepth, 2 * t.position, weight);
    }
  }
  for (int64_t i = 0; i < s.gathered; ++i, weight += kStep) tile_step<P>(t.gathered, i * kTileValues, 64, weight);
}

// Gathers the remainders of a tile's runs, contiguous for each position. The padding behind them must already be zero; a
// dropped position gets arbitrary values.
inline void gather_tile(const TileSteps& s, const uint16_t* from, int64_t position, int64_t input_row, uint16_t* to) {
  int64_t at = 0;
  for (int64_t ky = 0; ky < s.size; ++ky) {
    for (int64_t kx = 0; kx < s.runs; ++kx) {
      const uint16_t* rest = from + ky * input_row + kx * s.run_step + s.whole * kTileDepth;
      for (int64_t v = 0; v < s.rest; ++v, ++at) {
        uint16_t* column = to + at / kTileDepth * kTileValues + at % kTileDepth;
        for (int64_t i = 0; i < kTileSide; ++i) column[i * kTileDepth] = rest[i * position + v];
      }
    }
  }
}

template <typename Parts>
struct InTileUnit {
  typedef typename Parts::Element Element;
  static constexpr int64_t kParts = Parts::kParts;

  static void put(float value, bool, Element* to) { Parts::put(value, to); }

  static Frame frame(const BlockProblem& p, const RegionRow& r) {
    return {tile_rows_together(p, r), 0, r.top, r.left, (r.rows - 1) * p.stride + p.size, (r.cols - 1) * p.stride + p.size};
  }

  // Offsets within this convolution's scratch, in floats, except where noted.
  struct Work {
    int64_t gathered_tile, gathered_part;  // elements of a tile, and of a part
    int64_t plane;                         // elements of one part of the patch
    int64_t gathered, parts, total;
  };

  static Work work_of(const BlockProblem& p, const RegionRow& r, const Frame& f) {
    const TileCut cut = tile_cut(p, r, f.together);
    Work w{};
    w.gathered_tile = tile_steps(p).gathered * kTileValues;
    w.gathered_part = w.gathered_tile * cut.tiles(f.together, r.cols);
    // The last tile reads past the patch, by less than its positions, and drops those values: scratch must extend that far.
    const int64_t slack = kTileSide * p.stride * p.channels * (cut.down ? f.patch_cols : 1);
    w.plane = round_up(f.patch_rows * f.patch_cols * p.channels + slack, 32);
    w.gathered = 4 * kTileFloats;
    w.parts = w.gathered + kParts * w.gathered_part / 2;
    w.total = w.parts + (kParts > 1 ? w.plane : slack / 2 + 1);
    return w;
  }

  static int64_t work(const BlockProblem& p, const RegionRow& r) { return work_of(p, r, frame(p, r)).total; }

  // The patch's parts as operands; a new patch is split.
  static const uint16_t* parts_of(const uint16_t* patch, bool, int64_t, int64_t, float*) { return patch; }
  static const uint16_t* parts_of(const float* patch, bool fresh, int64_t count, int64_t plane, float* work) {
    auto* parts = reinterpret_cast<uint16_t*>(work);
    for (int64_t i = 0; i < count && fresh; ++i) split_bf16(patch[i], parts + i, parts + plane + i);
    return parts;
  }

  // Adds bias and, unless `linear`, applies ReLU to one tile of sums and writes them to `out`, from row y, column x on, along
  // the flat sequence or down. Positions in gaps between rows and past the last are dropped.
  static void put_outputs(const TileCut& cut, int64_t rows, int64_t cols, int64_t y, int64_t x, const float* sums, const float* bias,
                          bool linear, float* out, int64_t out_col) {
    const Vec b0 = Vec::load(bias), b1 = Vec::load(bias + Vec::width);
    for (int64_t i = 0; i < kTileSide && y < rows; ++i, sums += kBlock) {
      if (x < cols) {
        float* to = out + (y * cols + x) * out_col;
        const Vec low = Vec::add(Vec::load(sums), b0), high = Vec::add(Vec::load(sums + Vec::width), b1);
        (linear ? low : Vec::relu(low)).store(to);
        (linear ? high : Vec::relu(high)).store(to + Vec::width);
      }
      if (cut.down || ++x == cut.pitch) {
        ++y;
        x = cut.down ? x : 0;
      }
    }
  }

  static int64_t rows(const BlockProblem& p, const RegionRow& r, const Layout& l, const Element* patch, int64_t y, float* out,
                      float* work) {
    const TileSteps s = tile_steps(p);
    const TileCut cut = tile_cut(p, r, l.together);
    const Work w = work_of(p, r, l);
    const int64_t count = smaller(l.together, r.rows - y), along = cut.along(count, r.cols), tiles = cut.tiles(count, r.cols);
    const int64_t col_step = p.stride * p.channels, row_step = col_step * l.patch_cols;
    TileOperands t{};
    t.position = cut.down ? row_step : col_step;
    t.input_row = l.patch_cols * p.channels;
    auto* gathered = reinterpret_cast<uint16_t*>(work + w.gathered);
    const uint16_t* parts = parts_of(patch, y == 0, l.patch_rows * t.input_row, w.plane, work + w.parts);
    const auto tile_from = [&](int64_t tile) {  // relative to the first position of these rows
      return cut.down ? tile / along * col_step + tile % along * kTileSide * row_step : tile * kTileSide * col_step;
    };
    if (s.gathered > 0) memset(gathered, 0, static_cast<size_t>(kParts * w.gathered_part) * sizeof *gathered);
    const int64_t blocks = round_up(p.group_filters(), kBlock) / kBlock, part_weights = s.steps() * 2 * kTileValues;
    const TilesInUse tiles_in_use(kTileSide);
    for (int64_t g = 0; g < p.groups; ++g) {
      const uint16_t* from = parts + y * row_step + g * p.group_channels();
      for (int64_t i = 0; i < kParts * tiles && s.gathered > 0; ++i) {
        const int64_t part = i / tiles, tile = i % tiles;
        gather_tile(s, from + part * w.plane + tile_from(tile), t.position, t.input_row,
                    gathered + part * w.gathered_part + tile * w.gathered_tile);
      }
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t block = g * blocks + b;
        const auto* weight = reinterpret_cast<const uint16_t*>(p.weight) + block * kParts * part_weights;
        for (int64_t tile = 0; tile < tiles; tile += 2) {
          const int64_t both = smaller(tiles - tile, 2);
          const auto multiply = [&](int64_t patch_part, int64_t weight_part) {
            t.weight = weight + weight_part * part_weights;
            for (int64_t i = 0; i < both; ++i) {
              t.patch[i] = from + patch_part * w.plane + tile_from(tile + i);
              t.gathered[i] = gathered + patch_part * w.gathered_part + (tile + i) * w.gathered_tile;
            }
            both == 2 ? tile_products<2>(s, t) : tile_products<1>(s, t);
          };
          tile_zero<0>();
          tile_zero<1>();
          tile_zero<2>();
          tile_zero<3>();
          if constexpr (kParts > 1) {
            multiply(1, 0);
            multiply(0, 1);
          }
          multiply(0, 0);
          constexpr int64_t kSumRow = kBlock * sizeof(float);
          tile_store<0>(work, kSumRow);
          tile_store<1>(work + kTileSide, kSumRow);
          tile_store<2>(work + kTileSide * kBlock, kSumRow);
          tile_store<3>(work + kTileSide * kBlock + kTileSide, kSumRow);
          for (int64_t i = 0; i < both; ++i) {
            const int64_t first = (cut.down ? (tile + i) % along : tile + i) * kTileSide;
            const int64_t row = cut.down ? first : first / cut.pitch, col = cut.down ? (tile + i) / along : first % cut.pitch;
            put_outputs(cut, count, r.cols, row, col, work + i * kTileSide * kBlock, p.bias + block * kBlock, p.linear, out + block * kBlock,
                        l.filters);
          }
        }
      }
    }
    return count;
  }
};

}  // namespace
}  // namespace dcnn
