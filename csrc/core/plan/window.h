// What every block has for a window along one axis. That depends on the window's place along the axis alone, so it is found once for
// each place that some window has along either axis.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/axis.h"

namespace dcnn {

// Parts of a window's results along an axis: the rim's two sides, the shared ones between them, and all.
enum Part { kBefore, kAfter, kShared, kAll };

// How many there are of something for the rim's two sides together, for the shared results and for all results.
struct Counts {
  int64_t rim, shared, all;
};

// One block of one window along one axis.
struct Along {
  int64_t lattice;       // the place of the window's convolution output 0; that of its result 0 is lattice / pool stride
  int64_t residue;       // of its place on the lattice of inputs, modulo the stride: windows of one residue have outputs in common
  int64_t phase;         // of its place on the lattice of outputs, modulo the pool stride
  Range shared;          // results of the window that may come from elsewhere; {0, -1} for none
  Range shared_results;  // the same, as results of the lattice
  Range shared_outputs;  // the convolution outputs of the lattice that they need
  Counts tiles;          // the outputs in the whole tiles of each part
  Counts reads;          // the inputs that these read
  int64_t near, far;     // the last shared result that the next block's rim reads before, and the first that it reads after

  // The results of a part. out: the axis' results.
  Range results(Part part, int64_t out) const;

  // Shared results that the next block's rim reads, on the side before and after; kShared: those between; kAll: all shared ones.
  Range frame(Part part) const;
};

// A window of the plane, by its corner.
struct Window {
  int64_t top, left;
};

// What every block has for each of some windows.
class Windows {
 public:
  Windows(const std::vector<Axis>& axes, const std::vector<Window>& windows);

  size_t count() const { return windows_.size(); }
  const Window& at(size_t window) const { return windows_[window]; }
  const Along& down(size_t block, size_t window) const { return places_[rows_[window] * blocks_ + block]; }
  const Along& across(size_t block, size_t window) const { return places_[cols_[window] * blocks_ + block]; }

 private:
  size_t blocks_;
  std::vector<Window> windows_;
  std::vector<Along> places_;        // [place][block]
  std::vector<size_t> rows_, cols_;  // of each window, the numbers of its two places
};

}  // namespace dcnn
