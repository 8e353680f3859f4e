// The cost of a region: its convolution's multiplications, in whole tiles, and its memory traffic, converted to
// multiplications. The exchange rate is a property of a backend: the multiply-adds that it does in the time it moves one byte.
// A cost is a pure function of shapes, so a plan never depends on timings.
#pragma once

#include <vector>

#include "core/plan/axis.h"
#include "core/plan/window.h"

namespace dcnn {

// Costs of one block's regions, in multiply-adds.
struct BlockCost {
  Axis axis;
  double depth;   // per convolution output, all filters
  double read;    // per input read, all channels
  double stored;  // per result stored, all filters

  // The cost of computing a region with these outputs of the lattice, and of storing its results once.
  double computing(const Rectangle& outputs) const;
  double storing(const Rectangle& outputs) const;

  // The cost of `outputs` outputs in whole tiles and of reading their `inputs` inputs.
  double of(double outputs, double inputs) const { return outputs * depth + inputs * read; }
};

// One for each block.
std::vector<BlockCost> costs_of(const ColumnShape& column, double macs_per_byte);

// The cost of one window's block alone, and the cost saved when its shared results come from elsewhere. A rim is computed in
// four strips. Stores are not counted: results go to a window's own image either way.
struct Saving {
  double whole, saved;
};
Saving saving_of(const BlockCost& cost, const Along& down, const Along& across);

}  // namespace dcnn
