#include "core/plan/axis.h"

namespace dcnn {

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
    // Without padding, no output of block 1 looks before the window, only its tile may. Allowing that saves windows a rim on
    // two sides.
    axis.open = axes.empty() && b.padding == 0;
    axes.push_back(axis);
    extent = axis.out;
    step = axis.step * b.pool_stride;
  }
  return axes;
}

}  // namespace dcnn
