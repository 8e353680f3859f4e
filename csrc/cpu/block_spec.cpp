#include "block_spec.h"

#include <algorithm>
#include <stdexcept>

namespace dcnn {

namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;

void require(bool holds, const char* name, const std::string& rule, int64_t got) {
  if (!holds) throw std::invalid_argument("Block: " + std::string(name) + " must be " + rule + ", got " + std::to_string(got));
}

void require_between(const char* name, int64_t least, int64_t value, int64_t most, const char* most_name) {
  require(least <= value && value <= most, name, std::to_string(least) + " to " + most_name, value);
}

}  // namespace

void require_block(const BlockSpec& b) {
  require_between("channels", 1, b.channels, kMost, "2**31 - 1");
  require_between("filters", 1, b.filters, kMost, "2**31 - 1");
  require_between("groups", 1, b.groups, b.filters, "the number of filters");
  require(b.filters % b.groups == 0 && b.channels % b.groups == 0, "groups", "a divisor of filters and channels", b.groups);
  require_between("size", 1, b.size, kMost, "2**31 - 1");
  require_between("stride", 1, b.stride, b.size, "size");
  require_between("padding", 0, b.padding, b.size - 1, "size - 1");
  require_between("pool_size", 1, b.pool_size, kMost, "2**31 - 1");
  require_between("pool_stride", 1, b.pool_stride, b.pool_size, "pool_size");
  require_between("the norm's size", 1, b.norm_size, kMost, "2**31 - 1");
  const auto means = static_cast<int64_t>(b.mean.size());
  require(means == 0 || means == b.channels, "mean", "empty or a value for each channel", means);
}

Norm norm_named(const std::string& name) {
  if (name == "none") return Norm::none;
  if (name == "cross_map") return Norm::cross_map;
  if (name == "same_map") return Norm::same_map;
  throw std::invalid_argument("Norm: kind must be cross_map or same_map, got '" + name + "'");
}

Precision precision_named(const std::string& name) {
  if (name == "ieee") return Precision::ieee;
  if (name == "bf16") return Precision::bf16;
  if (name == "bf16x3") return Precision::bf16x3;
  throw std::invalid_argument("precision must be ieee, bf16 or bf16x3, got '" + name + "'");
}

BlockProblem problem_of(const BlockSpec& b) {
  BlockProblem p{};
  p.mean = b.mean.data();
  p.scale = b.scale;
  p.channels = b.channels;
  p.filters = b.filters;
  p.size = b.size;
  p.stride = b.stride;
  p.groups = b.groups;
  p.pool_size = b.pool_size;
  p.pool_stride = b.pool_stride;
  p.norm = b.norm;
  // Windows across maps that extend past all of them on both sides have the same sum, term by term, whatever their size.
  p.norm_size = b.norm == Norm::cross_map ? std::min(b.norm_size, 2 * b.filters + 1) : b.norm_size;
  p.norm_scale = b.norm_scale;
  p.norm_power = b.norm_power;
  p.norm_k = b.norm_k;
  p.norm_first = b.norm_first;
  p.precision = b.precision;
  p.pool_average = b.pool_average;
  p.relu_last = p.linear = b.relu_last;
  return p;
}

double scratch_bound(const BlockProblem& p, double rows, double cols, double pieces) {
  constexpr double kMore = 64.0;  // more than the padding to whole tiles, vectors or blocks of filters
  const auto as_double = [](int64_t value) { return static_cast<double>(value); };
  const double filters = as_double(p.filters) + as_double(p.groups) * kMore, channels = as_double(p.channels) + kMore;
  const double stride = as_double(p.stride), size = as_double(p.size);
  const double high = (rows + kMore) * stride + size, wide = (cols + kMore) * stride + size;
  const double patch = 2.0 * high * wide * channels;
  const double activations = (4.0 + pieces) * (rows + kMore) * (cols + kMore) * filters + as_double(p.norm_size);
  const double points = kMore * (cols + kMore) * (channels * stride * stride + 16.0 * kMore);   // Winograd's matrices
  const double gathered = kMore * (rows + kMore) * wide * (size * size + kMore) * kMore;        // remainders of a tile unit
  return patch + activations + points + gathered;
}

Largest::Largest(const std::vector<RegionRow>& regions) {
  for (const RegionRow& region : regions) {
    rows = std::max(rows, region.rows);
    cols = std::max(cols, region.cols);
    pieces = std::max(pieces, region.count);
  }
}

double scratch_bound(const BlockProblem& p, const Largest& regions) {
  return scratch_bound(p, static_cast<double>(regions.rows), static_cast<double>(regions.cols), static_cast<double>(regions.pieces));
}

void require_countable(double bound) {
  if (!(bound <= kMostCountable)) throw std::invalid_argument("the block's extents must be such that its work can be counted in 64 bits");
}

}  // namespace dcnn
