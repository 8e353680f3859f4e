// Sizes that could pass 64 bits are formed here, so that none does without a word.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace dcnn {

constexpr int64_t kMostBytes = int64_t{1} << 47;  // of anything in memory: more than a processor has addresses for

// The product of sizes, none of which is negative. what: what so many values are of, for the message. Throws std::invalid_argument
// naming it and the sizes where 64 bits do not hold it.
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

// The same of a sum.
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

// A product or a sum of what is not negative, 2**63 - 1 where it would be more: what is compared with a bound needs no more.
inline int64_t product_at_most(int64_t a, int64_t b) {
  int64_t found;
  return __builtin_mul_overflow(a, b, &found) ? std::numeric_limits<int64_t>::max() : found;
}

inline int64_t sum_at_most(int64_t a, int64_t b) {
  int64_t found;
  return __builtin_add_overflow(a, b, &found) ? std::numeric_limits<int64_t>::max() : found;
}

}  // namespace dcnn
