// Integer ranges along one axis and rectangles along two, with division that rounds down, or up, for either sign.
#pragma once

#include <algorithm>
#include <cstdint>

namespace dcnn {

// A plan divides ten thousand times: mostly by 1, and mostly 32-bit values, which divide faster.
inline int64_t floor_div(int64_t value, int64_t by) {
  if (by == 1) return value;
  if (static_cast<uint64_t>(value) >> 32 == 0 && static_cast<uint64_t>(by) >> 32 == 0) {
    return static_cast<uint32_t>(value) / static_cast<uint32_t>(by);
  }
  return value / by - (value % by < 0);
}
inline int64_t ceil_div(int64_t value, int64_t by) { return -floor_div(-value, by); }
inline int64_t floor_mod(int64_t value, int64_t by) { return value - floor_div(value, by) * by; }

// first ... last, both included.
struct Range {
  int64_t first, last;

  bool empty() const { return last < first; }
  int64_t count() const { return last - first + 1; }
  Range moved(int64_t by) const { return {first + by, last + by}; }
};

inline Range common(Range a, Range b) { return {std::max(a.first, b.first), std::min(a.last, b.last)}; }
inline Range around(Range a, Range b) { return {std::min(a.first, b.first), std::max(a.last, b.last)}; }

struct Rectangle {
  Range rows, cols;

  bool empty() const { return rows.empty() || cols.empty(); }
};

inline Rectangle common(const Rectangle& a, const Rectangle& b) { return {common(a.rows, b.rows), common(a.cols, b.cols)}; }
inline Rectangle around(const Rectangle& a, const Rectangle& b) { return {around(a.rows, b.rows), around(a.cols, b.cols)}; }

// A rectangle's area, as a double: the product of two extents may exceed 64 bits.
inline double area(const Rectangle& r) {
  return r.empty() ? 0.0 : static_cast<double>(r.rows.count()) * static_cast<double>(r.cols.count());
}

}  // namespace dcnn
