// The rules of tables of regions: everything that a region, piece or store reads or writes exists. Kernels check none of this,
// so callers must check their tables here first.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tables.h"

namespace dcnn {

// Images of `rows` x `cols` pixels or results: a source that regions read, or an output that stores write.
struct ImagesShape {
  int64_t images, rows, cols;
};

// Consecutive rows of a table.
template <typename Row>
struct Rows {
  const Row* rows;
  int64_t count;

  const Row* begin() const { return rows; }
  const Row* end() const { return rows + count; }
  const Row& operator[](int64_t i) const { return rows[i]; }
};

// A vector's rows, not copied.
template <typename Row>
Rows<Row> rows_in(const std::vector<Row>& rows) {
  return {rows.data(), static_cast<int64_t>(rows.size())};
}

struct RegionTables {
  Rows<RegionRow> regions;
  Rows<PieceRow> pieces;
  Rows<StoreRow> stores;
};

// The convolution of the regions and its pool (1, 1 for none). round_up: the last filter or pool window may hang over the far edge.
struct RegionGeometry {
  int64_t size, stride, padding;
  bool round_up;
  int64_t pool_size, pool_stride;
};

// Throws std::invalid_argument naming the rule, the row and its values: the first region, piece or store that lies outside its
// source, owner or output, or the first store that overlaps an earlier one (regions run on several threads). Pieces are
// numbered as regions name them, stores as those pieces do: their rows, where tables name each once and in order.
void require_regions(const RegionTables& tables, const RegionGeometry& geometry, const std::vector<ImagesShape>& sources,
                     const std::vector<ImagesShape>& outputs);

}  // namespace dcnn
