// A block as callers describe it. Every size is checked before any memory is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/regions.h"
#include "kernel.h"

namespace dcnn {

// conv -> bias -> ReLU -> [pool and norm, either order], or the ReLU last; fields as in BlockProblem. The convolution reads
// pixels as (pixel - mean) * scale; mean has a value for each channel, or none.
struct BlockSpec {
  int64_t channels, filters, size, stride, padding, groups;
  bool round_up;
  int64_t pool_size, pool_stride;  // 1, 1 without a pool
  Norm norm;
  int64_t norm_size;
  float norm_scale, norm_power, norm_k;
  bool norm_first;
  Precision precision;
  std::vector<float> mean;
  float scale;
  bool pool_average = false, relu_last = false;

  RegionGeometry geometry() const { return {size, stride, padding, round_up, pool_size, pool_stride}; }
};

// Throws std::invalid_argument naming the field, its rule and its value.
void require_block(const BlockSpec& block);

// The norm or precision of that name: none, cross_map, same_map; ieee, bf16, bf16x3. Throws std::invalid_argument naming the
// choices.
Norm norm_named(const std::string& name);
Precision precision_named(const std::string& name);

// The problem without its pointers.
BlockProblem problem_of(const BlockSpec& block);

// An upper bound of the scratch in floats for regions of at most these extents and pieces, on any instruction set. It is
// generous: while it does not exceed `kMostCountable`, no intermediate sum of the exact size overflows.
double scratch_bound(const BlockProblem& p, double rows, double cols, double pieces);
constexpr double kMostCountable = 1152921504606846976.0;  // 2**60

// The largest rows, columns and number of pieces of any region.
struct Largest {
  Largest() = default;
  explicit Largest(const std::vector<RegionRow>& regions);

  int64_t rows = 0, cols = 0, pieces = 0;
};

double scratch_bound(const BlockProblem& p, const Largest& regions);

// Throws std::invalid_argument for a bound beyond `kMostCountable`.
void require_countable(double bound);

}  // namespace dcnn
