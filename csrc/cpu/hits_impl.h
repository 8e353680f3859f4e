// The outputs of a pool window that equal its maximum, as bits, for the vector type `Vec` that the including file defines. Bit
// i * size + j stands for row i, column j of the window; windows have at most 16 outputs. Limit: memory.

#pragma once

#include <string.h>

#include "kernel.h"

namespace dcnn {
namespace {

// One integer per lane; comparisons set all bits of a lane or none.
typedef int32_t Bits __attribute__((vector_size(4 * Vec::width)));
typedef uint16_t Halves __attribute__((vector_size(2 * Vec::width)));

inline Bits equal(Vec a, Vec b) { return (Bits)(a.v == b.v); }
inline Bits positive(Vec a) { return (Bits)(a.v > Vec::zero().v); }

// The lanes of `value` where `mask` is all ones, zero elsewhere, even for an infinity or NaN.
inline Vec masked(Bits mask, Vec value) { return {(decltype(Vec::v))((Bits)value.v & mask)}; }

inline Bits load_bits(const uint16_t* from) {
  Halves halves;
  memcpy(&halves, from, sizeof halves);
  return __builtin_convertvector(halves, Bits);
}

inline void store_bits(Bits bits, uint16_t* to) {
  const Halves halves = __builtin_convertvector(bits, Halves);
  memcpy(to, &halves, sizeof halves);
}

}  // namespace
}  // namespace dcnn
