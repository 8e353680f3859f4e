// Every block of a window along one axis. It depends only on the window's place along that axis, so it is computed once for
// each distinct place.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/axis.h"

namespace dcnn {

// Parts of a window's results along an axis: the rim's two sides, the shared results between them, and all results.
enum Part { kBefore, kAfter, kShared, kAll };

// A count for both sides of the rim together, for the shared results, and for all results.
struct Counts {
  int64_t rim, shared, all;
};

// One block of one window along one axis.
struct Along {
  int64_t lattice;       // place of the window's convolution output 0; its result 0 is at lattice / pool stride
  int64_t residue;       // place on the lattice of inputs modulo the stride; windows of equal residue have outputs in common
  int64_t phase;         // place on the lattice of outputs modulo the pool stride
  Range shared;          // results of the window that may come from elsewhere; {0, -1} for none
  Range shared_results;  // the same, as results of the lattice
  Range shared_outputs;  // the convolution outputs of the lattice that they need
  Counts tiles;          // outputs in the whole tiles of each part
  Counts reads;          // inputs that these tiles read
  int64_t near, far;     // last shared result that the next block's rim reads on the side before, and first on the side after

  // The results of a part. out: the number of results along the axis.
  Range results(Part part, int64_t out) const;

  // Shared results that the next block's rim reads: kBefore and kAfter by side; kShared: those between; kAll: all shared
  // results.
  Range frame(Part part) const;
};

// A window of the plane, by its top left corner.
struct Window {
  int64_t top, left;
};

// Every block of each window.
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
  std::vector<size_t> rows_, cols_;  // each window's indices in `places_`
};

}  // namespace dcnn
