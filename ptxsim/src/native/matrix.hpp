// ldmatrix and mma with the same bits as in `instructions/matrix.py`, which uses numpy.
#pragma once

#include <vector>

#include "shared.hpp"

namespace ptxsim {

// Whether no warp executes the instruction with only some of its threads.
inline bool whole_warps(const Active& active, Index rows, Index threads) {
  if (active.everyone()) return true;
  for (Index row = 0; row < rows; ++row) {
    for (Index thread = 0; thread < threads; ++thread) {
      if (active.at(row, thread) != active.at(row, thread / kWarp * kWarp)) return false;
    }
  }
  return true;
}

// Threads 8i … 8i + 7 of a warp give the addresses of matrix i's 16-byte rows; out: (matrices, thread blocks, threads) of 32 bits.
inline bool load_matrices(Accesses accesses, const Shared& shared, Index matrices, bool transposed, std::uint32_t* out) {
  if (!whole_warps(accesses.active, accesses.rows, accesses.threads)) return false;
  accesses.first = 8 * matrices;
  if (!may_read(accesses, shared, 16)) return false;
  note_read(accesses, shared, 16);
  for (Index matrix = 0; matrix < matrices; ++matrix) {
    for (Index block = 0; block < shared.blocks; ++block) {
      for (Index thread = 0; thread < accesses.threads; ++thread, ++out) {
        if (!accesses.active.at(block, thread)) continue;
        const Index lane = thread % kWarp, rows = thread - lane + matrix * 8;
        if (transposed) {
          std::uint16_t halves[2];
          for (Index i = 0; i < 2; ++i) {
            const std::int64_t row = accesses.address.at(block, rows + lane % 4 * 2 + i);
            std::memcpy(&halves[i], shared.at(block, row + lane / 4 * 2), 2);
          }
          *out = halves[0] | std::uint32_t{halves[1]} << 16;
        } else {
          std::memcpy(out, shared.at(block, accesses.address.at(block, rows + lane / 4) + lane % 4 * 4), 4);
        }
      }
    }
  }
  return true;
}

enum class Kind { kHalf, kBfloat, kTf32 };

inline float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Exact, subnormals included: fraction and exponent are moved into place, and a product corrects the exponent's bias.
inline double half_number(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16, magnitude = std::uint32_t{bits & 0x7fffu} << 13;
  if (magnitude >= 31u << 23) return from_bits(sign | 0x7f800000u | magnitude);
  return from_bits(sign | magnitude) * 0x1p112;
}

// Also compiled for wider registers where the compiler can; sums are not contracted, so the bits are the same.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define PTXSIM_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define PTXSIM_WIDE
#endif

PTXSIM_WIDE inline void half_numbers(const std::uint16_t* bits, double* out) {
  for (Index i = 0; i < 2 * kWarp; ++i) out[i] = half_number(bits[i]);
}

// (16, depth) times (depth, 8). All sums advance together: a single one would wait for each of its additions.
PTXSIM_WIDE inline void multiply_tile(const double* left, const double* right, Index depth, double* out) {
  double sum[16 * 8] = {};
  for (Index k = 0; k < depth; ++k) {
    for (Index m = 0; m < 16; ++m) {
      const double x = left[m * depth + k];
      for (Index n = 0; n < 8; ++n) sum[m * 8 + n] += x * right[k * 8 + n];
    }
  }
  std::copy_n(sum, 16 * 8, out);
}

// The numbers in a warp's register: two of 16 bits per thread, or one, which loses its low 13 bits.
template <Kind kind>
void numbers(const std::uint32_t* words, double* out) {
  if constexpr (kind == Kind::kTf32) {
    for (Index i = 0; i < kWarp; ++i) out[i] = from_bits(words[i] & ~0x1fffu);
  } else if constexpr (kind == Kind::kBfloat) {
    for (Index i = 0; i < kWarp; ++i) out[2 * i] = from_bits(words[i] << 16), out[2 * i + 1] = from_bits(words[i] & 0xffff0000u);
  } else {
    std::uint16_t halves[2 * kWarp];
    std::memcpy(halves, words, sizeof halves);
    half_numbers(halves, out);
  }
}

using Words = std::vector<Register<std::uint32_t>>;

// D = A · B + C of m16n8k…: products are exact in fp64, summed there in the order of k, and rounded once with C.
template <Kind kind>
void multiply(const Words& a, const Words& b, const std::vector<Register<float>>& c, Index rows, Index threads,
              const std::vector<float*>& out) {
  constexpr Index each = kind == Kind::kTf32 ? 1 : 2;  // numbers per register
  const Index depth = static_cast<Index>(b.size()) * 4 * each;
  std::vector<double> left(16 * depth), right(depth * 8), product(16 * 8);
  for (Index row = 0; row < rows; ++row) {
    for (Index warp = 0; warp < threads; warp += kWarp) {
      std::uint32_t words[kWarp];
      double value[2 * kWarp];
      const auto take = [&](const Register<std::uint32_t>& of) {
        for (Index lane = 0; lane < kWarp; ++lane) words[lane] = of.at(row, warp + lane);
        numbers<kind>(words, value);
      };
      for (std::size_t i = 0; i < a.size(); ++i) {
        take(a[i]);
        double* const to = &left[static_cast<Index>(i % 2) * 8 * depth + static_cast<Index>(i / 2) * 4 * each];
        for (Index group = 0; group < 8; ++group) std::copy_n(value + group * 4 * each, 4 * each, to + group * depth);
      }
      for (std::size_t i = 0; i < b.size(); ++i) {
        take(b[i]);
        double* const to = &right[static_cast<Index>(i) * 4 * each * 8];
        for (Index group = 0; group < 8; ++group) {
          for (Index k = 0; k < 4 * each; ++k) to[k * 8 + group] = value[group * 4 * each + k];
        }
      }
      multiply_tile(left.data(), right.data(), depth, product.data());
      for (Index lane = 0; lane < kWarp; ++lane) {
        for (Index i = 0; i < 4; ++i) {
          const double part = product[(i / 2 * 8 + lane / 4) * 8 + lane % 4 * 2 + i % 2];
          const Index thread = warp + lane;
          out[i][row * threads + thread] = static_cast<float>(part + static_cast<double>(c[i].at(row, thread)));
        }
      }
    }
  }
}

}  // namespace ptxsim
