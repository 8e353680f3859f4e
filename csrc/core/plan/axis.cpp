#include "core/plan/axis.h"

namespace dcnn {

Range Axis::shared(Range inputs, int64_t lattice) const {
  int64_t low = ceil_div(inputs.first + padding, stride);
  if (!open) low += floor_mod(-(lattice + low), tile_side);
  int64_t start = floor_div(inputs.last + 1 + padding - tile_size, stride) - (tile_side - 1);
  start -= floor_mod(lattice + start, tile_side);  // where the last whole tile starts
  const int64_t high = start + tile_side - 1;
  const Range found{ceil_div(low + conv_before, pool_stride) + before,
                    floor_div(high - conv_after - pool_size + 1, pool_stride) - after};
  return inputs.empty() || found.empty() ? Range{0, -1} : found;
}

Span Axis::span(Range results) const {
  const Range seen{std::max<int64_t>(0, results.first - before), std::min(out - 1, results.last + after)};
  const int64_t pool = seen.first * pool_stride, last = std::min(seen.last * pool_stride + pool_size, conv) - 1;
  const Range outputs{std::max<int64_t>(0, pool - conv_before), std::min(conv - 1, last + conv_after)};
  return {results, outputs, pool, seen.count(), results.first - seen.first};
}

Range Axis::free_span(Range results) const {
  return {(results.first - before) * pool_stride - conv_before,
          (results.last + after) * pool_stride + pool_size - 1 + conv_after};
}

int64_t Axis::whole_tiles(Range outputs) const {
  if (tile_side == 1) return outputs.count();
  return (floor_div(outputs.last, tile_side) - floor_div(outputs.first, tile_side) + 1) * tile_side;
}

int64_t Axis::reads(int64_t outputs) const { return (outputs - 1) * stride + tile_size; }

Range Axis::inputs(Range outputs, int64_t lattice) const {
  const int64_t start = outputs.first - floor_mod(lattice + outputs.first, tile_side);
  const int64_t end = outputs.last - floor_mod(lattice + outputs.last, tile_side) + tile_side - 1;
  return {start * stride - padding, end * stride - padding + tile_size - 1};
}

std::vector<Axis> axes_of(const ColumnShape& column) {
  std::vector<Axis> axes;
  int64_t extent = column.window, step = 1;
  for (const BlockRow& b : column.blocks) {
    const int64_t before = b.norm_size / 2, after = b.norm_size - 1 - b.norm_size / 2;
    Axis axis{};
    axis.extent = extent;
    axis.conv = window_count(extent + 2 * b.padding, b.size, b.stride, column.round_up);
    axis.out = window_count(axis.conv, b.pool_size, b.pool_stride, column.round_up);
    axis.stride = b.stride;
    axis.padding = b.padding;
    axis.pool_size = b.pool_size;
    axis.pool_stride = b.pool_stride;
    (b.norm_first != 0 ? axis.conv_before : axis.before) = before;
    (b.norm_first != 0 ? axis.conv_after : axis.after) = after;
    axis.step = step * b.stride;
    axis.tile_side = b.tile_side;
    axis.tile_size = b.tile_size;
    // Without padding no output of block 1 looks before the window, only its tile may: to let it saves windows a rim on two sides.
    axis.open = axes.empty() && b.padding == 0;
    axes.push_back(axis);
    extent = axis.out;
    step = axis.step * b.pool_stride;
  }
  return axes;
}

}  // namespace dcnn
