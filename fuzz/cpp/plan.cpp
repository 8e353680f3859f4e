// Plans: any column, windows and plane are planned or refused, and the regions of a plan keep every rule of regions, block by block.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "core/plan/plan.h"
#include "core/regions.h"
#include "core/tile.h"
#include "input.h"

namespace {

using namespace dcnn;

constexpr int64_t kMostPixels = 1 << 22;  // of a plane, which limits an input to milliseconds

ColumnShape column_from(Input& input) {
  ColumnShape column{input.any(), input.any(), input.below(2) == 1, {}};
  const int64_t blocks = input.below(5);
  for (int64_t i = 0; i < blocks; ++i) {
    BlockRow b{};
    b.filters = input.any();
    b.size = input.any();
    b.stride = input.any();
    b.padding = input.any();
    b.groups = 1 + input.below(3);
    b.pool_size = input.any();
    b.pool_stride = input.any();
    b.norm_size = input.any();
    b.norm_first = input.below(2);
    b.tile_side = input.any();
    b.tile_size = input.any();
    b.tile_macs = static_cast<double>(input.any());
    if (input.below(2) == 1 && b.size < 100 && b.stride > 0 && b.stride <= b.size) {  // as in an engine
      const OutputTile tile = engine_tile({b.size, b.stride, 12, 8}, Precision::ieee, Bf16::floats);
      b.tile_side = tile.side;
      b.tile_size = tile.size;
      b.tile_macs = tile.macs;
    }
    column.blocks.push_back(b);
  }
  return column;
}

std::vector<ImagesShape> shapes_of(const std::vector<OutputShape>& outputs) {
  std::vector<ImagesShape> shapes;
  for (const OutputShape& output : outputs) shapes.push_back({output.images, output.rows, output.cols});
  return shapes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const ColumnShape column = column_from(input);
  const PlaneShape plane{input.any(), input.any()};
  std::vector<Window> windows(static_cast<size_t>(input.below(12)));
  for (Window& window : windows) window = {input.any(), input.any()};
  const bool large = plane.rows > 0 && plane.cols > kMostPixels / plane.rows;
  Plan plan;
  try {
    plan = plan_of(column, windows, plane, {static_cast<double>(input.below(64)), input.below(2) == 1});
  } catch (const std::invalid_argument&) {
    return 0;
  }
  if (large) return 0;
  std::vector<ImagesShape> sources{{1, plane.rows, plane.cols}};
  try {
    for (size_t i = 0; i < plan.blocks.size(); ++i) {
      const BlockRow& b = column.blocks[i];
      const BlockTables& tables = plan.blocks[i];
      const RegionGeometry geometry{b.size, b.stride, b.padding, column.round_up, b.pool_size, b.pool_stride};
      std::vector<ImagesShape> outputs = shapes_of(tables.outputs);
      require_regions({rows_in(tables.regions), rows_in(tables.pieces), rows_in(tables.stores)}, geometry, sources, outputs);
      sources = std::move(outputs);
    }
  } catch (const std::invalid_argument& broken) {
    std::fprintf(stderr, "a plan breaks a rule: %s\n", broken.what());
    std::abort();
  }
  return 0;
}
