#include "core/launch/column.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/sizes.h"

namespace dcnn {

namespace {

constexpr int64_t kTableAlignment = 128;  // bytes
constexpr int64_t kMapAlignment = 256;

int64_t aligned(int64_t bytes, int64_t to) { return (bytes + to - 1) / to * to; }

// The region of idle programs: no rows, pieces or stores, and one column. It follows the others.
RegionRow empty_region() {
  RegionRow row{};
  row.cols = 1;
  return row;
}

int64_t power_of_two(int64_t count) { return rounded(std::max<int64_t>(count, 1), 1); }

template <typename Row>
int64_t bytes_of(size_t count) {
  return static_cast<int64_t>(count * sizeof(Row));
}

// The bytes of one output's maps.
int64_t map_bytes(const OutputShape& of, int64_t filters, int64_t item) {
  const int64_t bytes = product("tables: an output", of.images, of.rows, of.cols, filters, item);
  product("tables: an output", of.rows, of.cols, filters);  // a stride, formed even where there are no images
  if (bytes > kMostBytes) throw std::invalid_argument("tables: an output must take at most 2**47 bytes, got " + std::to_string(bytes));
  return bytes;
}

template <typename Row>
char* copied(char* to, const Row* rows, size_t count) {
  if (count > 0) std::memcpy(to, rows, count * sizeof(Row));
  return to + count * sizeof(Row);
}

// Copies rows, adding `base` to their addresses.
template <typename Row>
void copied_from(char* to, const std::vector<Row>& rows, int64_t base) {
  for (Row row : rows) {
    row.address = sum("tables: an address", row.address, base);
    to = copied(to, &row, 1);
  }
}

}  // namespace

ColumnTables::ColumnTables(std::vector<BlockShape> blocks, bool again)
    : shapes_(std::move(blocks)), again_(again), places_(shapes_.size()) {}

Layout ColumnTables::lay(std::shared_ptr<const ColumnRegions> regions, const SourceRow& source) {
  if (regions->size() != shapes_.size()) throw std::invalid_argument("tables: the plan has another number of blocks than the column");
  Layout layout{};
  regions_ = std::move(regions);
  blocks_.assign(regions_->size(), {});
  std::vector<SourceRow> sources{source};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const BlockShape& shape = shapes_[i];
    Block& block = blocks_[i];
    block.sources = std::move(sources);
    const BlockTables& r = (*regions_)[i];
    const auto nothing = static_cast<int64_t>(r.regions.size());
    if (shape.strips != nullptr) {
      block.strips = shape.strips->strips_of(r.regions.data(), r.regions.size(), r.pieces.data(), shape.programs);
      const auto count = static_cast<int64_t>(block.strips.size());
      if (again_) block.strips = shared_out(block.strips, std::min(shape.programs, power_of_two(count)), nothing);
    } else {
      block.tiles = tiles_of(r.regions.data(), r.regions.size(), shape.tile);
      if (again_) add_idle(&block.tiles, nothing);
    }
    layout.programs.push_back(static_cast<int64_t>(shape.strips != nullptr ? block.strips.size() : block.tiles.size()));
    int64_t& used = i + 1 < blocks_.size() ? layout.maps : layout.last;
    sources.clear();
    for (const OutputShape& of : r.outputs) {
      const int64_t bytes = map_bytes(of, shape.filters, shape.item);
      block.outputs.push_back({used, of.rows, of.cols});
      sources.push_back({used, of.rows * of.cols * shape.filters, of.cols * shape.filters, shape.filters, 1});
      used = sum("tables: outputs", used, aligned(bytes, kMapAlignment));
    }
  }
  place(&layout);
  return layout;
}

std::array<int64_t, kTables> ColumnTables::sizes(size_t i) const {
  const Block& block = blocks_[i];
  const BlockTables& r = (*regions_)[i];
  std::array<int64_t, kTables> found{};
  found[kPrograms] = bytes_of<StripRow>(block.strips.size()) + bytes_of<TileRow>(block.tiles.size());
  found[kRegions] = bytes_of<RegionRow>(r.regions.size() + 1);
  found[kPieces] = bytes_of<PieceRow>(r.pieces.size());
  found[kStores] = bytes_of<StoreRow>(r.stores.size());
  found[kSources] = bytes_of<SourceRow>(block.sources.size());
  found[kOutputs] = bytes_of<OutputRow>(block.outputs.size());
  return found;
}

void ColumnTables::place(Layout* layout) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const std::array<int64_t, kTables> needed = sizes(i);
    for (size_t t = 0; t < kTables; ++t) {
      const int64_t room = again_ ? std::max(places_[i][t].bytes, power_of_two(needed[t])) : needed[t];
      const Place place{layout->tables, room};
      layout->moved = layout->moved || place.first != places_[i][t].first || place.bytes != places_[i][t].bytes;
      places_[i][t] = place;
      layout->tables += aligned(room, kTableAlignment);
    }
  }
}

void ColumnTables::write(char* to, int64_t maps, int64_t last) const {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const BlockTables& r = (*regions_)[i];
    const auto at = [&](Table table) { return to + places_[i][table].first; };
    copied(at(kPrograms), block.tiles.data(), block.tiles.size());
    copied(at(kPrograms), block.strips.data(), block.strips.size());
    const RegionRow empty = empty_region();
    copied(copied(at(kRegions), r.regions.data(), r.regions.size()), &empty, 1);
    copied(at(kPieces), r.pieces.data(), r.pieces.size());
    copied(at(kStores), r.stores.data(), r.stores.size());
    copied_from(at(kSources), block.sources, i > 0 ? maps : 0);
    copied_from(at(kOutputs), block.outputs, i + 1 < blocks_.size() ? maps : last);
  }
}

}  // namespace dcnn
