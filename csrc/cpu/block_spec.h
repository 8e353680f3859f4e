// A block as callers describe it, with every size checked, before there is memory to compute on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/regions.h"
#include "kernel.h"

namespace dcnn {

// conv -> bias -> ReLU -> [pool and norm, either order], or the ReLU last; fields as those of BlockProblem. Pixels enter as (pixel - mean) * scale; mean
// has a value for each channel, or none.
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

// Throws std::invalid_argument naming the field, the rule and its value.
void require_block(const BlockSpec& block);

// The one of that name: none, cross_map, same_map; ieee, bf16, bf16x3. Throws std::invalid_argument naming what there is.
Norm norm_named(const std::string& name);
Precision precision_named(const std::string& name);

// The problem, but for all that it points to.
BlockProblem problem_of(const BlockSpec& block);

// A bound of the floats of scratch that regions of at most these extents take, each with so many pieces, on any instruction set. It is
// far from what they do take: where it does not pass `kMostCountable`, no sum that leads to that overflows.
double scratch_bound(const BlockProblem& p, double rows, double cols, double pieces);
constexpr double kMostCountable = 1152921504606846976.0;  // 2**60

// The most rows, columns and pieces of any of some regions.
struct Largest {
  Largest() = default;
  explicit Largest(const std::vector<RegionRow>& regions);

  int64_t rows = 0, cols = 0, pieces = 0;
};

double scratch_bound(const BlockProblem& p, const Largest& regions);

// Throws std::invalid_argument for a bound past `kMostCountable`.
void require_countable(double bound);

}  // namespace dcnn
