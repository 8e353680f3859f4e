// The rules that tables of regions keep: what a region, a piece or a store takes from and goes to is there. Kernels look at none of
// this, so whoever gives them tables has checked them here.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tables.h"

namespace dcnn {

// Images of `rows` x `cols` pixels or results: a source that regions read, or an output that they are stored to.
struct ImagesShape {
  int64_t images, rows, cols;
};

// Rows of a table that lie together.
template <typename Row>
struct Rows {
  const Row* rows;
  int64_t count;

  const Row* begin() const { return rows; }
  const Row* end() const { return rows + count; }
  const Row& operator[](int64_t i) const { return rows[i]; }
};

// A vector's rows, where they lie.
template <typename Row>
Rows<Row> rows_in(const std::vector<Row>& rows) {
  return {rows.data(), static_cast<int64_t>(rows.size())};
}

struct RegionTables {
  Rows<RegionRow> regions;
  Rows<PieceRow> pieces;
  Rows<StoreRow> stores;
};

// What the regions are of: a convolution, and the pool that follows (1, 1 for none). round_up: the last window of either may hang over
// the far edge.
struct RegionGeometry {
  int64_t size, stride, padding;
  bool round_up;
  int64_t pool_size, pool_stride;
};

// Throws std::invalid_argument naming the first region, piece or store that lies outside what it takes from or goes to, or the first
// store that shares a place with one before it (regions are done on several threads), the rule and its values. Pieces are counted as regions name them, stores as those pieces do: where tables name each once and in order, that is
// their row.
void require_regions(const RegionTables& tables, const RegionGeometry& geometry, const std::vector<ImagesShape>& sources,
                     const std::vector<ImagesShape>& outputs);

}  // namespace dcnn
