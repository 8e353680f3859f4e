#include "column.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "buffer.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace dcnn {

namespace {

constexpr int64_t kLine = 16;  // floats; every map starts at a cache line

int64_t floats_of(const OutputShape& shape, int64_t filters) { return round_up(shape.images * shape.rows * shape.cols * filters, kLine); }

// The maps of alternating blocks, kept: fresh memory costs a page fault every 4 KiB.
thread_local Buffer maps_of_thread[2];

// Reorders the maps [windows, rows, cols, filters] to [windows, filters, rows, cols].
void channels_first(const Output& maps, int64_t filters, float* out) {
  const int64_t places = maps.height * maps.width;
  for (int64_t n = 0; n < maps.images; ++n) {
    const float* from = maps.data + n * places * filters;
    for (int64_t f = 0; f < filters; ++f, out += places) {
      for (int64_t i = 0; i < places; ++i) out[i] = from[i * filters + f];
    }
  }
}

}  // namespace

void require_column_of(const std::vector<ColumnBlock>& blocks, const ColumnRegions& regions, int64_t channels) {
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;
  constexpr double kMostFloats = 17179869184.0;  // 2**34
  if (blocks.empty() || blocks.size() != regions.size()) {
    throw std::invalid_argument("regions must be of the column's " + std::to_string(blocks.size()) + " blocks, at least one, got " +
                                std::to_string(regions.size()));
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const BlockSpec& block = blocks[i].block;
    const std::string name = "blocks[" + std::to_string(i) + "]";
    if (block.channels != channels) {
      throw std::invalid_argument(name + " must take the " + std::to_string(channels) + " channels that come to it, got " +
                                  std::to_string(block.channels));
    }
    channels = block.filters;
    double floats = 0.0;
    for (const OutputShape& shape : regions[i].outputs) {
      for (const int64_t extent : {shape.images, shape.rows, shape.cols}) {
        if (extent < 0 || extent > kMost) throw std::invalid_argument(name + ": outputs must have extents of 0 to 2**31 - 1");
      }
      floats += static_cast<double>(shape.images) * static_cast<double>(shape.rows) * static_cast<double>(shape.cols) *
                    static_cast<double>(channels) +
                static_cast<double>(kLine);
    }
    if (floats > kMostFloats) throw std::invalid_argument(name + ": its outputs take more than 64 GiB of memory: cut them up");
  }
  if (regions.back().outputs.empty()) throw std::invalid_argument("the last block must have an output");
}

void run_column(const Isa& isa, const std::vector<ColumnBlock>& blocks, const ColumnRegions& regions, const Source& plane,
                const ImagesShape& extents, float* out, int threads) {
  const PlainArithmetic plain;
  std::vector<Source> sources{plane};
  std::vector<ImagesShape> shapes{extents};
  std::vector<Output> outputs;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const BlockSpec& block = blocks[i].block;
    const BlockTables tables = regions[i];  // a copy: another thread may write to the caller's
    std::vector<ImagesShape> made;
    int64_t floats = 0;
    for (const OutputShape& shape : tables.outputs) {
      made.push_back({shape.images, shape.rows, shape.cols});
      floats += floats_of(shape, block.filters);
    }
    require_regions({rows_in(tables.regions), rows_in(tables.pieces), rows_in(tables.stores)}, block.geometry(), shapes, made);
    BlockProblem p = problem_of(block);
    require_countable(scratch_bound(p, Largest(tables.regions)));
    float* maps = maps_of_thread[i % 2].at_least(static_cast<size_t>(floats));
    outputs.clear();
    for (const OutputShape& shape : tables.outputs) {
      outputs.push_back({maps, shape.images, shape.rows, shape.cols});
      maps += floats_of(shape, block.filters);
    }
    const std::shared_ptr<const Packed> packed = packed_weights(isa, p, blocks[i].weights);
    p.weight = packed->weight.data();
    p.bias = packed->bias.data();
    p.sources = sources.data();
    p.outputs = outputs.data();
    p.pieces = tables.pieces.data();
    p.stores = tables.stores.data();
    run_block(isa, p, tables.regions.data(), static_cast<int64_t>(tables.regions.size()), threads);
    sources.clear();
    for (const Output& o : outputs) {
      sources.push_back({o.data, false, 1, o.width * block.filters, block.filters, o.height * o.width * block.filters});
    }
    shapes = std::move(made);
  }
  channels_first(outputs.front(), blocks.back().block.filters, out);
}

}  // namespace dcnn
