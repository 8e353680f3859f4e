// Arithmetic on sizes that might exceed 64 bits: overflow is refused, never silent.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace dcnn {

constexpr int64_t kMostBytes = int64_t{1} << 47;  // bound of any size in memory: beyond a processor's address space

// The product of sizes that are not negative. what: the thing counted, for the message. Throws std::invalid_argument naming it
// and the sizes on overflow of 64 bits.
template <typename... Sizes>
int64_t product(const char* what, Sizes... sizes) {
  int64_t found = 1;
  bool passes = false;
  ((passes |= sizes < 0 || __builtin_mul_overflow(found, static_cast<int64_t>(sizes), &found)), ...);
  if (!passes) return found;
  std::string text;
  ((text += (text.empty() ? "" : " x ") + std::to_string(sizes)), ...);
  throw std::invalid_argument(std::string(what) + " must have sizes whose product is below 2**63, got " + text);
}

// The same for a sum.
template <typename... Sizes>
int64_t sum(const char* what, Sizes... sizes) {
  int64_t found = 0;
  bool passes = false;
  ((passes |= __builtin_add_overflow(found, static_cast<int64_t>(sizes), &found)), ...);
  if (!passes) return found;
  std::string text;
  ((text += (text.empty() ? "" : " + ") + std::to_string(sizes)), ...);
  throw std::invalid_argument(std::string(what) + " must have sizes whose sum is below 2**63, got " + text);
}

// Saturating product and sum of values that are not negative: 2**63 - 1 on overflow, which suffices for comparison with a
// bound.
inline int64_t product_at_most(int64_t a, int64_t b) {
  int64_t found;
  return __builtin_mul_overflow(a, b, &found) ? std::numeric_limits<int64_t>::max() : found;
}

inline int64_t sum_at_most(int64_t a, int64_t b) {
  int64_t found;
  return __builtin_add_overflow(a, b, &found) ? std::numeric_limits<int64_t>::max() : found;
}

}  // namespace dcnn
