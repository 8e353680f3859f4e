// The rate of multiply-adds in registers alone, for the vector type `Vec` that the including file defines: the benchmark's peak.

#include "kernel.h"

namespace dcnn {
namespace {

// Runs `rounds` rounds of independent multiply-adds and returns the number of floating-point operations.
double run_peak(int64_t rounds, float* sink) {
  constexpr int kChains = 2 * kPositions;
  Vec chain[kChains];
  const Vec a = Vec::broadcast(0.999f), b = Vec::broadcast(0.001f);
  _Pragma("GCC unroll 24") for (int i = 0; i < kChains; ++i) chain[i] = Vec::broadcast(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    _Pragma("GCC unroll 24") for (int i = 0; i < kChains; ++i) chain[i] = Vec::fma(chain[i], a, b);
  }
  Vec sum = Vec::zero();
  _Pragma("GCC unroll 24") for (int i = 0; i < kChains; ++i) sum = Vec::add(sum, chain[i]);
  sum.store(sink);
  return 2.0 * kChains * Vec::width * static_cast<double>(rounds);
}

}  // namespace
}  // namespace dcnn
