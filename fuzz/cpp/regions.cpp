// Tables of regions: kernels must compute those that `require_regions` accepts without touching other memory. Every source and
// output is a separate allocation, whose ends AddressSanitizer guards.
#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "block_spec.h"
#include "core/regions.h"
#include "input.h"
#include "pack.h"
#include "run.h"

namespace {

using namespace dcnn;

constexpr double kMostFloats = 1 << 18;  // of a source, an output or a region's scratch, which limits an input to milliseconds

template <typename Row>
std::vector<Row> rows_from(Input& input) {
  std::vector<Row> rows(static_cast<size_t>(input.below(7)));
  for (Row& row : rows) {
    for (size_t i = 0; i < sizeof(Row) / sizeof(int64_t); ++i) reinterpret_cast<int64_t*>(&row)[i] = input.any();
  }
  return rows;
}

std::vector<ImagesShape> shapes_from(Input& input) {
  std::vector<ImagesShape> shapes(static_cast<size_t>(1 + input.below(3)));
  for (ImagesShape& shape : shapes) shape = {input.any(), input.any(), input.any()};
  return shapes;
}

BlockSpec block_from(Input& input) {
  BlockSpec block{};
  block.groups = 1 + input.below(3);
  block.channels = block.groups * (1 + input.below(5));
  block.filters = block.groups * (1 + input.below(9));
  block.size = input.any();
  block.stride = input.any();
  block.padding = input.any();
  block.round_up = input.below(2);
  block.pool_size = input.any();
  block.pool_stride = input.any();
  block.norm = static_cast<Norm>(input.below(3));
  block.norm_size = block.norm == Norm::none ? 1 : input.any();
  block.norm_scale = 0.1f;
  block.norm_power = 0.75f;
  block.norm_k = 1.0f;
  block.norm_first = input.below(2);
  block.precision = static_cast<Precision>(input.below(2));
  block.mean.assign(static_cast<size_t>(block.channels), 3.0f);
  block.scale = 0.5f;
  return block;
}

bool few(const ImagesShape& shape, int64_t maps) {
  double floats = static_cast<double>(maps);
  for (const int64_t extent : {shape.images, shape.rows, shape.cols}) {
    if (extent < 0 || static_cast<double>(extent) > kMostFloats) return false;
    floats *= static_cast<double>(extent);
  }
  return floats <= kMostFloats;
}

size_t floats(const ImagesShape& shape, int64_t maps) { return static_cast<size_t>(shape.images * shape.rows * shape.cols * maps); }

void run(const BlockSpec& block, const RegionTables& tables, const std::vector<ImagesShape>& sources,
         const std::vector<ImagesShape>& outputs) {
  const Isa& isa = portable_isa();
  BlockProblem p = problem_of(block);
  for (const RegionRow& region : tables.regions) {
    const auto rows = static_cast<double>(region.rows), cols = static_cast<double>(region.cols);
    if (scratch_bound(p, rows, cols, static_cast<double>(region.count)) > 64 * kMostFloats) return;
  }
  std::vector<std::vector<float>> read, written;
  std::vector<Source> from;
  std::vector<Output> to;
  const int64_t channels = block.channels;
  for (const ImagesShape& shape : sources) {
    if (!few(shape, channels)) return;
    read.emplace_back(floats(shape, channels), 1.0f);
    from.push_back({read.back().data(), false, 1, shape.cols * channels, channels, shape.rows * shape.cols * channels});
  }
  for (const ImagesShape& shape : outputs) {
    if (!few(shape, block.filters)) return;
    written.emplace_back(floats(shape, block.filters), 0.0f);
    to.push_back({written.back().data(), shape.images, shape.rows, shape.cols});
  }
  const std::vector<float> weight(static_cast<size_t>(block.filters * p.group_channels() * block.size * block.size), 0.5f);
  const auto packed = pack_weights(isa, p, {weight.data(), nullptr, false});
  p.weight = packed->weight.data();
  p.bias = packed->bias.data();
  p.sources = from.data();
  p.outputs = to.data();
  p.pieces = tables.pieces.rows;
  p.stores = tables.stores.rows;
  run_block(isa, p, tables.regions.rows, tables.regions.count, 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const BlockSpec block = block_from(input);
  const std::vector<ImagesShape> sources = shapes_from(input), outputs = shapes_from(input);
  const auto regions = rows_from<RegionRow>(input);
  const auto pieces = rows_from<PieceRow>(input);
  const auto stores = rows_from<StoreRow>(input);
  const RegionTables tables{rows_in(regions), rows_in(pieces), rows_in(stores)};
  try {
    require_block(block);
    require_regions(tables, block.geometry(), sources, outputs);
  } catch (const std::invalid_argument&) {
    return 0;
  }
  if (block.size <= 64) run(block, tables, sources, outputs);
  return 0;
}
