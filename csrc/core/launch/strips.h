// Strips: a block's regions divided among the thread blocks of the CUDA C++ kernel (csrc/cuda/block/forward.cu).
//
// A strip is computed `step` rows at a time, from the top down. A region's columns are divided into the number of strips that
// takes the fewest steps, its rows into the number that lets all thread blocks finish soonest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tables.h"

namespace dcnn {

// The sizes that bound the rows per step; fields as in CudaConfig of dcnn_fast/ops/block/cuda/config.py. outputs: convolution
// outputs of a step. ring: outputs kept for pool and norm. plane: 16-byte units of a plane of the patch. fetched: units of a
// whole patch, at most. span: units between the pixels of neighbouring outputs. steps: steps of 16 products in a filter row.
// most_rows, most_cols: of a step, where outputs are no flat list.
struct StripShape {
  int64_t outputs, ring, plane, fetched, span, steps, size, stride, pool_size, pool_stride, most_rows, most_cols;
};

// 16-byte units of the patch that rows x cols outputs see: of one of its planes, and of everything fetched; 2**63 - 1 on
// overflow. Only span, steps, size and stride are read.
int64_t plane_units(const StripShape& shape, int64_t cols, int64_t rows);
int64_t fetched_units(const StripShape& shape, int64_t cols, int64_t rows);

// Cuts regions into strips of one shape.
class StripCutter {
 public:
  explicit StripCutter(const StripShape& shape);

  const StripShape& shape() const { return shape_; }

  // The most rows per step in a strip of `cols` columns; 0 where none fits.
  int64_t rows_of(int64_t cols) const { return cols <= static_cast<int64_t>(rows_.size()) ? rows_[static_cast<size_t>(cols - 1)] : 0; }

  // The strips that cover all regions, in the regions' order. blocks: thread blocks, which take even shares in order.
  std::vector<StripRow> strips_of(const RegionRow* regions, size_t count, const PieceRow* pieces, int64_t blocks) const;

 private:
  StripShape shape_;
  std::vector<int64_t> rows_;  // by columns, from 1 on
};

// Pads the strips with idle ones so that each of `blocks` thread blocks has the same number and keeps its own strips. nothing:
// the index of the empty region. An idle strip has one output, which sees no pixel and belongs to no piece, and takes one step.
std::vector<StripRow> shared_out(const std::vector<StripRow>& strips, int64_t blocks, int64_t nothing);

}  // namespace dcnn
