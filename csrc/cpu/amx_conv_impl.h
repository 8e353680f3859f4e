// The convolution on a tile unit, in bfloat16 or in three products of bfloat16 parts; for the vector type `Vec` and the tile
// operations (tile_amx.h) that the including file defines.
//
// Tile: 2 x 16 positions x 2 x 16 filters in four tiles of sums; two of positions, two of weights. A tile of positions is read where
// it lies in the patch, 64 bytes of a row's taps and channels for each: along rows, several rows of a narrow patch in one go
// (what lies between the ends and the beginnings of rows is multiplied and dropped), or, in a narrow region, down its columns.
// What a row of the filter has beyond whole 64 bytes is gathered (tile_steps.h): of 11 x 11 x 3, one value of 33. K always runs in the
// same steps, each summed inside the tile unit, so an output's bits are the same in every tile at every place in it.
// Layout: weights [group][block][part][step][2][16 pairs][16 filters][2]; gathered [part][tile][step][16 positions][32].
// Memory: the gathered values, 4 KiB of sums; with parts, both parts of the patch.
// Limit: the tile unit's products, of which docs/engine-notes.md has the useful share; not run on a processor with AMX yet.

#pragma once

#include <string.h>

#include "layout_impl.h"
#include "tile_steps.h"

namespace dcnn {
namespace {

constexpr int64_t kTilePositions = 16;
static_assert(kBlock == 32, "a block of filters is two tiles");

// Every tile 16 rows of 64 bytes, for as long as this lives. Released in between: a thread that keeps tiles costs at every switch.
class TilesInUse {
 public:
  TilesInUse() {
    TileConfig config{};
    config.palette = 1;
    for (int t = 0; t < 8; ++t) {
      config.rows[t] = 16;
      config.row_bytes[t] = 64;
    }
    tile_configure(config);
  }
  ~TilesInUse() { tile_release(); }
  TilesInUse(const TilesInUse&) = delete;
  TilesInUse& operator=(const TilesInUse&) = delete;
};

// How a region's positions are cut into tiles: conv rows computed together, along their flat sequence or down each column.
struct TileCut {
  int64_t together;
  bool down;
  int64_t pitch;  // positions from one row to the next in the flat sequence

  int64_t along(int64_t rows, int64_t cols) const {  // tiles of the flat sequence, or of one column
    const int64_t positions = down ? rows : (rows - 1) * pitch + cols;
    return (positions + kTilePositions - 1) / kTilePositions;
  }
  int64_t tiles(int64_t rows, int64_t cols) const { return along(rows, cols) * (down ? cols : 1); }
};

// The cut with the fewest tiles, among those whose ring of conv rows stays small.
inline TileCut tile_cut(const BlockProblem& p, const RegionRow& r) {
  constexpr int64_t kRingFloats = 32768, kFlatRows = 8;
  const int64_t pitch = (r.cols - 1) * p.stride + p.size;
  const int64_t row = r.cols * padded_filters(p, kBlock), before = smaller(p.pool_size, r.rows) - 1;
  TileCut best{1, false, pitch};
  int64_t fewest = best.tiles(1, r.cols) * r.rows;
  const auto consider = [&](const TileCut& cut) {
    if ((cut.together + before) * row > kRingFloats) return;
    const int64_t rest = r.rows % cut.together;
    const int64_t tiles = r.rows / cut.together * cut.tiles(cut.together, r.cols) + (rest > 0 ? cut.tiles(rest, r.cols) : 0);
    if (tiles >= fewest) return;
    fewest = tiles;
    best = cut;
  };
  for (int64_t rows = 2; rows <= smaller(kFlatRows, r.rows); ++rows) consider({rows, false, pitch});
  for (int64_t rows = kTilePositions; rows < r.rows; rows += kTilePositions) consider({rows, true, pitch});
  consider({r.rows, true, pitch});
  return best;
}

// Positions and weights of the tiles that are multiplied.
struct TileOperands {
  const uint16_t* patch[2];  // each tile's first position, at its first tap
  const uint16_t* gathered[2];
  int64_t position_bytes;
  int64_t input_row;  // elements between rows of the patch
  const uint16_t* weight;
};

template <int P>
inline void tile_step(const uint16_t* const from[2], int64_t offset, int64_t row_bytes, const uint16_t* weight) {
  tile_load<6>(weight, 64);
  tile_load<7>(weight + 512, 64);
  tile_load<4>(from[0] + offset, row_bytes);
  tile_dot<0, 4, 6>();
  tile_dot<1, 4, 7>();
  if constexpr (P == 2) {
    tile_load<5>(from[1] + offset, row_bytes);
    tile_dot<2, 5, 6>();
    tile_dot<3, 5, 7>();
  }
  tile_awake();
}

// All products of P tiles of positions with a block of filters are added to the sums.
template <int P>
void tile_products(const TileSteps& s, const TileOperands& t) {
  const uint16_t* weight = t.weight;
  for (int64_t ky = 0; ky < s.size; ++ky) {
    for (int64_t kx = 0; kx < s.runs; ++kx) {
      const int64_t run = ky * t.input_row + kx * s.run_step;
      for (int64_t i = 0; i < s.whole; ++i, weight += 1024) tile_step<P>(t.patch, run + i * kTileDepth, t.position_bytes, weight);
    }
  }
  for (int64_t i = 0; i < s.gathered; ++i, weight += 1024) tile_step<P>(t.gathered, i * 512, 64, weight);
}

// With kSplit, operands are sums of two bfloat16 and an output's products are those of (low, high), (high, low), (high, high) parts
// of pixels and weights, in this order; else operands are rounded to bfloat16.
template <bool kSplit>
struct Tiled {
  template <bool split, typename Nothing = void>
  struct Patch {
    typedef uint16_t Element;
    static void put(float value, uint16_t* to) { *to = to_bf16(value); }
  };
  template <typename Nothing>
  struct Patch<true, Nothing> {
    typedef float Element;
    static void put(float value, float* to) { *to = value; }
  };

  typedef typename Patch<kSplit>::Element Element;
  static constexpr int kParts = kSplit ? 2 : 1;

  static void put(float value, bool, Element* to) { Patch<kSplit>::put(value, to); }

  static Frame frame(const BlockProblem& p, const RegionRow& r) {
    return {tile_cut(p, r).together, 0, r.top, r.left, (r.rows - 1) * p.stride + p.size, (r.cols - 1) * p.stride + p.size};
  }

  // Where things lie in the scratch of its own, in floats.
  struct Work {
    int64_t gathered_tile, gathered_part;  // elements of a tile, and of a part
    int64_t slack;                         // elements that a last tile reads past the patch, and drops
    int64_t plane;                         // elements of one part of the patch
    int64_t gathered, parts, total;
  };

  static Work work_of(const BlockProblem& p, const RegionRow& r) {
    const TileSteps s = tile_steps(p);
    const TileCut cut = tile_cut(p, r);
    const Frame f = frame(p, r);
    Work w{};
    w.gathered_tile = s.gathered * 512;
    w.gathered_part = w.gathered_tile * cut.tiles(cut.together, r.cols);
    w.slack = kTilePositions * p.stride * p.channels * (cut.down ? f.patch_cols : 1);
    w.plane = round_up(f.patch_rows * f.patch_cols * p.channels + w.slack, 32);
    w.gathered = 2 * kTilePositions * kBlock;
    w.parts = w.gathered + kParts * w.gathered_part / 2;
    w.total = w.parts + (kSplit ? w.plane : w.slack / 2 + 1);
    return w;
  }

  static int64_t work(const BlockProblem& p, const RegionRow& r) { return work_of(p, r).total; }

  // Both parts of the patch.
  static void split_patch(const float* patch, int64_t count, int64_t plane, uint16_t* parts) {
    for (int64_t i = 0; i < count; ++i) split_bf16(patch[i], parts + i, parts + plane + i);
  }

  // The rests of a tile's runs, side by side for each position. A position that is dropped gets what happens to lie there.
  static void gather_tile(const TileSteps& s, const uint16_t* from, int64_t position, int64_t input_row, uint16_t* to) {
    for (int64_t i = 0; i < kTilePositions; ++i, from += position) {
      int64_t at = 0;
      const auto put = [&](uint16_t value) {
        to[at / kTileDepth * 512 + i * kTileDepth + at % kTileDepth] = value;
        ++at;
      };
      for (int64_t ky = 0; ky < s.size; ++ky) {
        for (int64_t kx = 0; kx < s.runs; ++kx) {
          const uint16_t* rest = from + ky * input_row + kx * s.run_step + s.whole * kTileDepth;
          for (int64_t v = 0; v < s.rest; ++v) put(rest[v]);
        }
      }
      while (at < s.gathered * kTileDepth) put(0);
    }
  }

  // Sums of one tile of positions, with bias and ReLU, to their places in `out`; `first` is its first position of the flat sequence,
  // or its first row in column `col`.
  static void put_outputs(const TileCut& cut, const RegionRow& r, int64_t count, int64_t first, int64_t col, const float* sums,
                          const float* bias, float* out, int64_t out_col) {
    const Vec b0 = Vec::load(bias), b1 = Vec::load(bias + Vec::width);
    for (int64_t i = 0; i < kTilePositions; ++i, sums += kBlock) {
      const int64_t y = cut.down ? first + i : (first + i) / cut.pitch, x = cut.down ? col : (first + i) % cut.pitch;
      if (y >= count || x >= r.cols) continue;
      float* to = out + (y * r.cols + x) * out_col;
      Vec::relu(Vec::add(Vec::load(sums), b0)).store(to);
      Vec::relu(Vec::add(Vec::load(sums + Vec::width), b1)).store(to + Vec::width);
    }
  }

  static int64_t rows(const BlockProblem& p, const RegionRow& r, const Layout& l, const Element* patch, int64_t y, float* out,
                      float* work) {
    const TileSteps s = tile_steps(p);
    const TileCut cut = tile_cut(p, r);
    const Work w = work_of(p, r);
    const int64_t count = smaller(cut.together, r.rows - y), along = cut.along(count, r.cols), tiles = cut.tiles(count, r.cols);
    const int64_t input_row = l.patch_cols * p.channels;
    const int64_t col_step = p.stride * p.channels, row_step = p.stride * input_row;
    const int64_t position = cut.down ? row_step : col_step;
    auto* gathered = reinterpret_cast<uint16_t*>(work + w.gathered);
    const uint16_t* parts;
    if constexpr (kSplit) {
      auto* to = reinterpret_cast<uint16_t*>(work + w.parts);
      if (y == 0) split_patch(patch, l.patch_rows * input_row, w.plane, to);
      parts = to;
    } else {
      parts = patch;
    }
    const auto tile_from = [&](int64_t tile) {  // from the first position of these rows
      return cut.down ? tile / along * col_step + tile % along * kTilePositions * row_step : tile * kTilePositions * col_step;
    };
    const int64_t blocks = round_up(p.group_filters(), kBlock) / kBlock, part_weights = s.steps() * 1024;
    const TilesInUse tiles_in_use;
    for (int64_t g = 0; g < p.groups; ++g) {
      const uint16_t* from = parts + y * row_step + g * p.group_channels();
      for (int64_t part = 0; part < kParts && s.gathered > 0; ++part) {
        for (int64_t tile = 0; tile < tiles; ++tile) {
          gather_tile(s, from + part * w.plane + tile_from(tile), position, input_row,
                      gathered + part * w.gathered_part + tile * w.gathered_tile);
        }
      }
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t block = g * blocks + b;
        const auto* weight = reinterpret_cast<const uint16_t*>(p.weight) + block * kParts * part_weights;
        for (int64_t tile = 0; tile < tiles; tile += 2) {
          const int64_t both = smaller(tiles - tile, 2);
          const auto multiply = [&](int64_t patch_part, int64_t weight_part) {
            TileOperands t{};
            t.position_bytes = position * static_cast<int64_t>(sizeof(uint16_t));
            t.input_row = input_row;
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
          if constexpr (kSplit) {
            multiply(1, 0);
            multiply(0, 1);
          }
          multiply(0, 0);
          constexpr int64_t kSumRow = kBlock * sizeof(float);
          tile_store<0>(work, kSumRow);
          tile_store<1>(work + 16, kSumRow);
          tile_store<2>(work + kTilePositions * kBlock, kSumRow);
          tile_store<3>(work + kTilePositions * kBlock + 16, kSumRow);
          for (int64_t i = 0; i < both; ++i) {
            const int64_t at = tile + i;
            put_outputs(cut, r, count, (cut.down ? at % along : at) * kTilePositions, at / along, work + i * kTilePositions * kBlock,
                        p.bias + block * kBlock, out + block * kBlock, l.filters);
          }
        }
      }
    }
    return count;
  }
};

}  // namespace
}  // namespace dcnn
