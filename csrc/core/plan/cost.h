// What a region costs: the multiplications of its convolution, in whole tiles, and bytes moved expressed in multiplications. The
// exchange rate is a property of a backend: how many multiply-adds it does in the time it moves one byte. A cost is a pure function
// of shapes, so a plan never depends on timings.
#pragma once

#include <vector>

#include "core/plan/axis.h"
#include "core/plan/window.h"

namespace dcnn {

// Costs of one block's regions, in multiply-adds.
struct BlockCost {
  Axis axis;
  double depth;   // of one convolution output of all filters
  double read;    // of one input read, all channels
  double stored;  // of one result stored, all filters

  // Of a region over these outputs of the lattice: to compute it, and to store its results once.
  double computing(const Rectangle& outputs) const;
  double storing(const Rectangle& outputs) const;

  // Of outputs in whole tiles and of the inputs that these read.
  double of(double outputs, double inputs) const { return outputs * depth + inputs * read; }
};

// Of every block.
std::vector<BlockCost> costs_of(const ColumnShape& column, double macs_per_byte);

// What a block of one window takes alone, and what it saves when its shared results come from elsewhere. A rim is computed in four
// strips. Stores are left out: results are stored in a window's own image either way.
struct Saving {
  double whole, saved;
};
Saving saving_of(const BlockCost& cost, const Along& down, const Along& across);

}  // namespace dcnn
