// Registers and active masks of a batch of blocks, as numpy holds them.
#pragma once

#include <cstdint>
#include <cstring>

namespace ptxsim {

using Index = std::int64_t;
constexpr Index kWarp = 32;

// An array of (blocks or 1, threads or 1); a step of 0 repeats what is the same for all.
template <class T>
struct Register {
  const char* data = nullptr;
  Index row_step = 0, column_step = 0;  // steps in bytes

  T at(Index row, Index column) const {
    T value;
    std::memcpy(&value, data + row * row_step + column * column_step, sizeof(T));
    return value;
  }
};

// Which threads take part; without data, all.
struct Active {
  Register<std::uint8_t> mask;

  bool everyone() const { return mask.data == nullptr; }
  bool at(Index row, Index column) const { return mask.data == nullptr || mask.at(row, column) != 0; }
};

// The addresses of an instruction, and whose they are. rows: 1 where all blocks do the same, else one for each block.
struct Accesses {
  Register<std::int64_t> address;
  Active active;
  Index rows, threads;
  Index first = kWarp;  // of each warp only so many threads take part, as the rows of ldmatrix say

  bool at(Index row, Index thread) const { return thread % kWarp < first && active.at(row, thread); }
};

// The exponent of a power of two: divisions by one that is not known beforehand would cost most of the time.
inline int exponent(Index power) {
  int bits = 0;
  while (Index{1} << bits < power) ++bits;
  return bits;
}

}  // namespace ptxsim
