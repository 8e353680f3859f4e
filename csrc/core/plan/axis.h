// One block along one axis: which results depend only on pixels inside the window, and the inputs that a result needs.
//
// Results are indexed within the window, 0 ... out - 1. Shared results are the same for every window that sees their pixels.
// The rest, the rim, depend on padding, an overhanging edge, or the window's border, seen through a norm within maps or through
// a tile: where a convolution is computed in tiles, all inputs of a tile decide its outputs' bits, so whole tiles are shared.
// Tiles are aligned to the lattice common to all windows of a plane, so the shared results depend on the window's place.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/column.h"
#include "core/plan/range.h"

namespace dcnn {

// The dependencies of `results`: convolution outputs `outputs`, with pool windows from output `pool` on; `rows` results
// including the halo of a norm within maps, `skip` of them before the first of `results`.
struct Span {
  Range results, outputs;
  int64_t pool, rows, skip;
};

// A block along one axis of a window of `extent` inputs. Windows are square, so both axes are alike.
struct Axis {
  int64_t extent, conv, out;  // inputs, convolution outputs and results of a window
  int64_t stride, padding, pool_size, pool_stride;
  int64_t before, after;            // results that a norm after the pool reads on either side
  int64_t conv_before, conv_after;  // convolution outputs that a norm before the pool reads
  int64_t step;                     // pixels between outputs; output i of a window at pixel o is o / step + i on the lattice
  int64_t tile_side, tile_size;
  bool open;  // the first tile of a window may read pixels before the window

  // Shared results of a window with shared inputs `inputs`; {0, -1} for none. lattice: the place of the window's output 0.
  Range shared(Range inputs, int64_t lattice) const;

  // The dependencies of results within the window; nothing beyond its edges is read.
  Span span(Range results) const;

  // The convolution outputs that shared results need, on a lattice without edges.
  Range free_span(Range results) const;

  // The number of outputs in the lattice's tiles that contain `outputs`, at least one.
  int64_t whole_tiles(Range outputs) const;

  // The number of inputs that `outputs` consecutive outputs in whole tiles read; outputs is at least 1.
  int64_t reads(int64_t outputs) const;

  // Inputs read by the tiles of a window's outputs, padding included. lattice: the place of the window's output 0.
  Range inputs(Range outputs, int64_t lattice) const;
};

// One for each block of the column.
std::vector<Axis> axes_of(const ColumnShape& column);

// Defined here for inlining: a plan calls them thousands of times.

inline Range Axis::shared(Range inputs, int64_t lattice) const {
  int64_t low = ceil_div(inputs.first + padding, stride);
  if (!open) low += floor_mod(-(lattice + low), tile_side);
  int64_t start = floor_div(inputs.last + 1 + padding - tile_size, stride) - (tile_side - 1);
  start -= floor_mod(lattice + start, tile_side);  // start of the last whole tile
  const int64_t high = start + tile_side - 1;
  const Range found{ceil_div(low + conv_before, pool_stride) + before,
                    floor_div(high - conv_after - pool_size + 1, pool_stride) - after};
  return inputs.empty() || found.empty() ? Range{0, -1} : found;
}

inline Span Axis::span(Range results) const {
  const Range seen{std::max<int64_t>(0, results.first - before), std::min(out - 1, results.last + after)};
  const int64_t pool = seen.first * pool_stride, last = std::min(seen.last * pool_stride + pool_size, conv) - 1;
  const Range outputs{std::max<int64_t>(0, pool - conv_before), std::min(conv - 1, last + conv_after)};
  return {results, outputs, pool, seen.count(), results.first - seen.first};
}

inline Range Axis::free_span(Range results) const {
  return {(results.first - before) * pool_stride - conv_before,
          (results.last + after) * pool_stride + pool_size - 1 + conv_after};
}

inline int64_t Axis::whole_tiles(Range outputs) const {
  if (tile_side == 1) return outputs.count();
  return (floor_div(outputs.last, tile_side) - floor_div(outputs.first, tile_side) + 1) * tile_side;
}

inline int64_t Axis::reads(int64_t outputs) const { return (outputs - 1) * stride + tile_size; }

inline Range Axis::inputs(Range outputs, int64_t lattice) const {
  const int64_t start = outputs.first - floor_mod(lattice + outputs.first, tile_side);
  const int64_t end = outputs.last - floor_mod(lattice + outputs.last, tile_side) + tile_side - 1;
  return {start * stride - padding, end * stride - padding + tile_size - 1};
}

}  // namespace dcnn
