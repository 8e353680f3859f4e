// Strips: how the regions of a block are shared out to the thread blocks of the CUDA C++ kernel (csrc/cuda/block/forward.cu).
//
// A strip is computed `step` rows at a time, from the top down. Beside each other, as many strips as take the fewest steps share a
// region's columns; below each other, as many as let all thread blocks be done soonest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tables.h"

namespace dcnn {

// The sizes that decide how many rows of a strip are a step; fields as those of CudaConfig in dcnn_fast/ops/block/cuda/config.py.
// outputs: of the convolution, in a step. ring: outputs kept for pool and norm. plane, fetched: 16-byte units of a plane of the patch,
// and units that a patch may consist of. span: units from an output's pixels to its neighbour's. steps: of 16 products, in a filter row.
// most_rows, most_cols: of a step, where outputs are no flat list.
struct StripShape {
  int64_t outputs, ring, plane, fetched, span, steps, size, stride, pool_size, pool_stride, most_rows, most_cols;
};

// 16-byte units of a plane of the patch that rows x cols outputs see, and of all that is fetched for it; 2**63 - 1 where there would be
// more. Reads span, steps, size and
// stride alone.
int64_t plane_units(const StripShape& shape, int64_t cols, int64_t rows);
int64_t fetched_units(const StripShape& shape, int64_t cols, int64_t rows);

// Cuts regions into strips of one shape.
class StripCutter {
 public:
  explicit StripCutter(const StripShape& shape);

  const StripShape& shape() const { return shape_; }

  // The most rows of a step in a strip of `cols` columns, 0 where none fits.
  int64_t rows_of(int64_t cols) const { return cols <= static_cast<int64_t>(rows_.size()) ? rows_[static_cast<size_t>(cols - 1)] : 0; }

  // The strips that cover all regions, in their order. blocks: thread blocks, which share them out evenly and in order.
  std::vector<StripRow> strips_of(const RegionRow* regions, size_t count, const PieceRow* pieces, int64_t blocks) const;

 private:
  StripShape shape_;
  std::vector<int64_t> rows_;  // by columns, from 1 on
};

// The strips with others between them that have nothing to do, so that each of `blocks` thread blocks has as many and the strips that
// it would have had. nothing: the region of those, which holds nothing: an output of theirs sees no pixel and has no piece, and takes
// a step.
std::vector<StripRow> shared_out(const std::vector<StripRow>& strips, int64_t blocks, int64_t nothing);

}  // namespace dcnn
