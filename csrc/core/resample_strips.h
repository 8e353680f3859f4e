// Resizing whose passes are taken apart: the filters of a cut's two axes, what lies between the passes, and a picture whose rows come in
// strips. Its inline functions are for files that are compiled for any processor.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/plan/range.h"
#include "core/resample.h"

namespace dcnn {

// An axis of a cut: its filter, if its size changes, and the pixels that the outputs depend on, from which its entries count.
struct CutAxis {
  bool resampled;
  Range source;
  Filter filter;
  std::vector<int16_t> halves;

  PassFilter pass() const {
    return {filter.entries.data(), static_cast<int64_t>(filter.entries.size()), filter.weights.data(), halves.data()};
  }
};

// What lies between the passes; it is never larger than the larger of the picture and the cut. None of it is cleared, or kept from one
// call to the next.
class Between {
 public:
  Between(int64_t rows, int64_t cols) : bytes_(new uint8_t[static_cast<size_t>(3 * rows * cols)]), rows_(rows), cols_(cols) {}

  Canvas canvas() const { return {bytes_.get(), rows_, cols_, 3 * cols_}; }
  Picture picture() const { return {bytes_.get(), rows_, cols_, 3 * cols_}; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  int64_t rows_, cols_;
};

// Pillow's rule, by the pixels that the height and the width lose.
bool down_comes_first(int64_t lost_rows, int64_t lost_cols);

// A pass across that is yet to be done.
struct AcrossWork {
  Picture from;
  PassFilter filter;
  Canvas to;
};

// A whole picture resized, whose rows come from the top on, in strips of any height.
class StripResizer {
 public:
  // Whether the pass across comes first, and there are two: only then are whole rows not needed together.
  static bool takes(int64_t rows, int64_t cols, int64_t resized_rows, int64_t resized_cols);

  // Throws as `cut_picture` does.
  StripResizer(int64_t rows, int64_t cols, int64_t resized_rows, int64_t resized_cols, const Passes& passes);

  // The pass across of the rows from `first` on.
  AcrossWork of(const Picture& strip, int64_t first) const;

  // Writes [resized rows, resized cols, 3] bytes, once all rows are taken.
  void finish(uint8_t* to) const;

 private:
  const Passes& passes_;
  CutAxis down_, across_;
  Between between_;  // as many rows as the picture has
};

// The axis of `size` pixels that becomes `target`, of which these outputs are wanted. Throws as `bilinear_filter` does.
CutAxis axis_of(int64_t size, int64_t target, Range outputs);

}  // namespace dcnn
