// The tables of a column's blocks, filled by planning.
#pragma once

#include <cstddef>
#include <vector>

#include "core/tables.h"

namespace dcnn {

// Images of `rows` x `cols` results: one output of a block.
struct OutputShape {
  int64_t images, rows, cols;
};

// Output 0 holds the windows' own images; the maps that the next block reads follow.
struct BlockTables {
  std::vector<RegionRow> regions;
  std::vector<PieceRow> pieces;
  std::vector<StoreRow> stores;
  std::vector<OutputShape> outputs;

  // Reserves room for `count` regions with one piece and two stores each; more may be added.
  void reserve(std::size_t count) {
    regions.reserve(count);
    pieces.reserve(count);
    stores.reserve(2 * count);
  }

  // Appends a row of zeros, the owner of later rows: pieces belong to the last region, stores to the last piece.
  RegionRow& add_region() {
    RegionRow& row = regions.emplace_back();
    row.first = static_cast<int64_t>(pieces.size());
    return row;
  }
  PieceRow& add_piece() {
    ++regions.back().count;
    PieceRow& row = pieces.emplace_back();
    row.first = static_cast<int64_t>(stores.size());
    return row;
  }
  StoreRow& add_store() {
    ++pieces.back().count;
    return stores.emplace_back();
  }
};

using ColumnRegions = std::vector<BlockTables>;  // one for each block

}  // namespace dcnn
