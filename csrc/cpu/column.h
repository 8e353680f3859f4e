// A column's blocks one after another, over the regions of a plan.
#pragma once

#include <cstdint>
#include <vector>

#include "block_spec.h"
#include "core/plan/tables.h"
#include "core/regions.h"
#include "kernel.h"
#include "pack.h"

namespace dcnn {

// A block of a column; its mean has a value for each channel.
struct ColumnBlock {
  BlockSpec block;
  Weights weights;
};

// Throws std::invalid_argument naming the mismatch: each block reads the previous block's results, the first one the plane.
void require_column_of(const std::vector<ColumnBlock>& blocks, const ColumnRegions& regions, int64_t channels);

// Runs every block's regions, the first block's over `plane`, on `threads` threads; a block's weights are looked up by value
// (`packed_weights`). out: [windows, filters, rows, cols] of the last block's output 0. Maps between blocks lie in memory that
// the calling thread keeps for its next column. Throws std::invalid_argument for regions that leave their sources or outputs.
void run_column(const Isa& isa, const std::vector<ColumnBlock>& blocks, const ColumnRegions& regions, const Source& plane,
                const ImagesShape& extents, float* out, int threads);

}  // namespace dcnn
