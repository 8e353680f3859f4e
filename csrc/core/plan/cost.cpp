#include "core/plan/cost.h"

namespace dcnn {

namespace {

double product(int64_t a, int64_t b) { return static_cast<double>(a) * static_cast<double>(b); }

// The count that remains of a window after its rim's strips are subtracted, over both axes.
double inside(const Counts& down, const Counts& across) {
  return product(down.all, across.all) - product(down.rim, across.all) - product(down.shared, across.rim);
}

}  // namespace

double BlockCost::computing(const Rectangle& outputs) const {
  const int64_t rows = axis.whole_tiles(outputs.rows), cols = axis.whole_tiles(outputs.cols);
  return of(product(rows, cols), product(axis.reads(rows), axis.reads(cols)));
}

double BlockCost::storing(const Rectangle& outputs) const {
  const auto results = [&](Range range) { return floor_div(range.last - range.first, axis.pool_stride) + 1; };
  return product(results(outputs.rows), results(outputs.cols)) * stored;
}

std::vector<BlockCost> costs_of(const ColumnShape& column, double macs_per_byte) {
  std::vector<BlockCost> costs;
  const std::vector<Axis> axes = axes_of(column);
  int64_t channels = column.channels;
  for (size_t i = 0; i < axes.size(); ++i) {
    const BlockRow& b = column.blocks[i];
    const auto bytes = [](int64_t values) { return static_cast<double>(4 * values); };
    costs.push_back({axes[i], b.tile_macs * static_cast<double>(channels / b.groups) * static_cast<double>(b.filters),
                     bytes(channels) * macs_per_byte, bytes(b.filters) * macs_per_byte});
    channels = b.filters;
  }
  return costs;
}

Saving saving_of(const BlockCost& cost, const Along& down, const Along& across) {
  const double whole = cost.of(product(down.tiles.all, across.tiles.all), product(down.reads.all, across.reads.all));
  if (down.shared.empty() || across.shared.empty()) return {whole, 0.0};
  return {whole, cost.of(inside(down.tiles, across.tiles), inside(down.reads, across.reads))};
}

}  // namespace dcnn
