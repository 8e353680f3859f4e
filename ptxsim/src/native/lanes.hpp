// Registers and active masks of a batch of thread blocks, in numpy's memory.
#pragma once

#include <cstdint>
#include <cstring>

namespace ptxsim {

using Index = std::int64_t;
constexpr Index kWarp = 32;

// An array of (blocks or 1, threads or 1); a step of 0 repeats a value that all share.
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

// The active threads; all of them without data.
struct Active {
  Register<std::uint8_t> mask;

  bool everyone() const { return mask.data == nullptr; }
  bool at(Index row, Index column) const { return mask.data == nullptr || mask.at(row, column) != 0; }
};

// The addresses of an instruction and its active threads. rows: 1 where all thread blocks do the same, otherwise one for each block.
struct Accesses {
  Register<std::int64_t> address;
  Active active;
  Index rows, threads;
  Index first = kWarp;  // only the first threads of each warp take part, as for the rows of ldmatrix

  bool at(Index row, Index thread) const { return thread % kWarp < first && active.at(row, thread); }
};

// The exponent of a power of two: division by a variable would take most of the time.
inline int exponent(Index power) {
  int bits = 0;
  while (Index{1} << bits < power) ++bits;
  return bits;
}

}  // namespace ptxsim
