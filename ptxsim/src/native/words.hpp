// Arithmetic on 32-bit registers that takes numpy many passes.
#pragma once

#include <cmath>
#include <limits>

#include "lanes.hpp"

namespace ptxsim {

using Word = std::uint32_t;

// Selects four bytes from eight; the upper bit of a selector replicates the byte's sign.
inline Word permute(Word low, Word high, Word selector) {
  const std::uint64_t wide = low | std::uint64_t{high} << 32;
  Word out = 0;
  for (int i = 0; i < 4; ++i) {
    const Word choice = selector >> 4 * i & 15u;
    Word byte = wide >> (choice & 7u) * 8 & 255u;
    if (choice & 8u) byte = (byte >> 7) * 255u;
    out |= byte << 8 * i;
  }
  return out;
}

template <class A, class B>
Word dot(Word a, Word b, Word sum) {
  for (int i = 0; i < 4; ++i) {
    const int product = int{static_cast<A>(a >> 8 * i)} * int{static_cast<B>(b >> 8 * i)};
    sum += static_cast<Word>(product);
  }
  return sum;
}

// Through fp64, as in `instructions/functions.py`.
inline float multiply_add(float a, float b, float c) {
  return static_cast<float>(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c));
}

// Replaces subnormal numbers by zeros of their sign.
inline float flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

inline float flushed_multiply_add(float a, float b, float c) { return flush(multiply_add(flush(a), flush(b), flush(c))); }

// The other operand where one is NaN, unless NaN is to propagate; -0 is below +0.
template <bool maximum, bool propagate>
float extremum(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) {
    if (propagate) return std::numeric_limits<float>::quiet_NaN();
    return std::isnan(a) ? b : a;
  }
  if (a == 0 && b == 0) return std::signbit(a) == maximum ? b : a;
  return maximum ? (a < b ? b : a) : (b < a ? b : a);
}

inline Word bits_of(float x) {
  Word word;
  std::memcpy(&word, &x, sizeof word);
  return word;
}

constexpr Word kNarrowNan = 0x7fff;

// Rounds to fp16, ties to even. For subnormal results, an addition makes the processor round to multiples of the smallest
// number.
inline Word half_of(float x) {
  const Word sign = bits_of(x) >> 16 & 0x8000u, magnitude = bits_of(x) & 0x7fffffffu;
  if (std::isnan(x)) return kNarrowNan;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;
  if (magnitude < 0x38800000u) return sign | (bits_of(std::fabs(x) + 0.5f) - bits_of(0.5f));
  return sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
}

// Rounds to bf16, ties to even.
inline Word bfloat_of(float x) {
  return std::isnan(x) ? kNarrowNan : (bits_of(x) + (bits_of(x) >> 16 & 1u) + 0x7fffu) >> 16;
}

template <Word narrow(float)>
Word pair(float high, float low) {
  return narrow(high) << 16 | narrow(low);
}

enum class Shuffle { kUp, kDown, kButterfly, kIndex };

// The lane that `lane` reads, and whether it is in its segment (PTX ISA, shfl.sync).
inline Index source_lane(Shuffle mode, Index lane, Word by, Word clamp, bool& valid) {
  const Index step = by & 31u, limit = clamp & 31u, segment = clamp >> 8 & 31u;
  const Index top = (lane & segment) | (limit & ~segment);
  Index from = (lane & segment) | (step & ~segment);
  if (mode == Shuffle::kUp) from = lane - step;
  if (mode == Shuffle::kDown) from = lane + step;
  if (mode == Shuffle::kButterfly) from = lane ^ step;
  valid = mode == Shuffle::kUp ? from >= top : from <= top;
  return valid ? from : lane;
}

// Returns false where an active thread reads from an inactive one.
inline bool shuffle(Shuffle mode, const Register<Word>& x, const Register<Word>& by, const Register<Word>& clamp,
                    const Active& active, Index rows, Index threads, Word* out, bool* valid) {
  for (Index row = 0; row < rows; ++row) {
    for (Index thread = 0; thread < threads; ++thread, ++out, ++valid) {
      const Index lane = thread % kWarp;
      const Index from = source_lane(mode, lane, by.at(row, thread), clamp.at(row, thread), *valid);
      if (active.at(row, thread) && !active.at(row, thread - lane + from)) return false;
      *out = x.at(row, thread - lane + from);
    }
  }
  return true;
}

}  // namespace ptxsim
