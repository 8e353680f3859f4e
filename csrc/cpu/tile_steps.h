// The order in which the tile kernels sum an output's products, for packing of weights and for multiplication.
#pragma once

#include "kernel.h"

namespace dcnn {

constexpr int64_t kTileDepth = 32;  // products of one step: the values of a 64-byte row of a tile

// An output's products are those of size * runs runs, each of `run` consecutive values of the patch. Whole steps of every run
// come first, run after run, read in place; then the remainders of all runs, gathered contiguously and padded with zeros.
struct TileSteps {
  int64_t size, runs, run, run_step;  // run_step: elements between the runs of one row of the patch
  int64_t whole, rest;                // steps and remaining values of a run
  int64_t direct, gathered;           // steps of an output

  __attribute__((always_inline)) int64_t steps() const { return direct + gathered; }
};

static inline TileSteps tile_steps(const BlockProblem& p) {
  TileSteps s{};
  s.size = p.size;
  s.runs = p.groups == 1 ? 1 : p.size;  // without groups a row's taps and channels are contiguous
  s.run = p.groups == 1 ? p.size * p.channels : p.group_channels();
  s.run_step = p.channels;
  s.whole = s.run / kTileDepth;
  s.rest = s.run % kTileDepth;
  s.direct = s.size * s.runs * s.whole;
  s.gathered = (s.size * s.runs * s.rest + kTileDepth - 1) / kTileDepth;
  return s;
}

// The product, counted over taps and then channels, at value `at` of a step; -1 for padding.
static inline int64_t tile_product(const TileSteps& s, int64_t step, int64_t at) {
  if (step < s.direct) return step / s.whole * s.run + step % s.whole * kTileDepth + at;
  const int64_t i = (step - s.direct) * kTileDepth + at;
  return i < s.size * s.runs * s.rest ? i / s.rest * s.run + s.whole * kTileDepth + i % s.rest : -1;
}

}  // namespace dcnn
