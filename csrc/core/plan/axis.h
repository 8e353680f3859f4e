// One block along one axis: which results depend on nothing but pixels inside the window, and what a result needs.
//
// Results lie on the window's own index 0 ... out - 1. Shared ones are the same for every window that sees their pixels; the rest,
// the rim, see padding, an overhanging edge, or the window's border through a norm within maps or through their tile: where a
// convolution is computed in tiles, all inputs of its tile decide an output's bits, so whole tiles are shared. Tiles lie on the
// lattice that all windows of a plane share, so what is shared depends on where the window lies.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/column.h"
#include "core/plan/range.h"

namespace dcnn {

// What `results` need: convolution outputs `outputs`, of which pool windows start at `pool`; `rows` results with the halo of a norm
// within maps, `skip` of them before the first of `results`.
struct Span {
  Range results, outputs;
  int64_t pool, rows, skip;
};

// A block along one axis of a window of `extent` inputs. Windows are square, so both axes are alike.
struct Axis {
  int64_t extent, conv, out;  // inputs, convolution outputs and results of a window
  int64_t stride, padding, pool_size, pool_stride;
  int64_t before, after;            // results that a norm after the pool looks at on either side
  int64_t conv_before, conv_after;  // convolution outputs that one before the pool looks at
  int64_t step;                     // pixels between two outputs; a window at pixel o has output i at o / step + i of the lattice
  int64_t tile_side, tile_size;
  bool open;  // the first tile of a window may see what lies before the window

  // Shared results of a window whose shared inputs are `inputs`; {0, -1} where there are none. lattice: of the window's output 0.
  Range shared(Range inputs, int64_t lattice) const;

  // What results need inside the window: nothing beyond its edges is looked at.
  Span span(Range results) const;

  // The convolution outputs that results need on a lattice that has no edges: for shared results.
  Range free_span(Range results) const;

  // Outputs in the tiles of outputs of the lattice, at least one.
  int64_t whole_tiles(Range outputs) const;

  // Inputs that so many outputs, whole tiles and at least one, read.
  int64_t reads(int64_t outputs) const;

  // Inputs that the tiles of a window's outputs read, padding included. lattice: of the window's output 0.
  Range inputs(Range outputs, int64_t lattice) const;
};

// Every block of the column.
std::vector<Axis> axes_of(const ColumnShape& column);

// Here, so that they are inlined: a plan calls them thousands of times.

inline Range Axis::shared(Range inputs, int64_t lattice) const {
  int64_t low = ceil_div(inputs.first + padding, stride);
  if (!open) low += floor_mod(-(lattice + low), tile_side);
  int64_t start = floor_div(inputs.last + 1 + padding - tile_size, stride) - (tile_side - 1);
  start -= floor_mod(lattice + start, tile_side);  // where the last whole tile starts
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
