// Resizing with its passes exposed: the filters of a cut's two axes, the buffer between the passes, and resizing of a picture
// that arrives in strips of rows. Its inline functions are only for files compiled for any processor.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/plan/range.h"
#include "core/resample.h"

namespace dcnn {

// An axis of a cut: its filter, where its size changes, and the source pixels that the outputs need. Entries count from the
// first one.
struct CutAxis {
  bool resampled;
  Range source;
  Filter filter;
  std::vector<int16_t> halves;

  PassFilter pass() const {
    return {filter.entries.data(), static_cast<int64_t>(filter.entries.size()), filter.weights.data(), halves.data()};
  }
};

// The buffer between the passes, no larger than the larger of picture and cut. It is neither cleared nor kept between calls.
class Between {
 public:
  Between(int64_t rows, int64_t cols) : bytes_(new uint8_t[static_cast<size_t>(3 * rows * cols)]), rows_(rows), cols_(cols) {}

  Canvas canvas() const { return {bytes_.get(), rows_, cols_, 3 * cols_}; }
  Picture picture() const { return {bytes_.get(), rows_, cols_, 3 * cols_}; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  int64_t rows_, cols_;
};

// Pillow's rule, by the pixels lost along height and width.
bool down_comes_first(int64_t lost_rows, int64_t lost_cols);

// A pending pass across.
struct AcrossWork {
  Picture from;
  PassFilter filter;
  Canvas to;
};

// Resizes a whole picture whose rows arrive from the top, in strips of any height.
class StripResizer {
 public:
  // Whether there are two passes, the one across first: only then can strips of rows be taken one by one.
  static bool takes(int64_t rows, int64_t cols, int64_t resized_rows, int64_t resized_cols);

  // Throws as `cut_picture` does.
  StripResizer(int64_t rows, int64_t cols, int64_t resized_rows, int64_t resized_cols, const Passes& passes);

  // The pass across for the rows of `strip`, which begin at row `first`.
  AcrossWork of(const Picture& strip, int64_t first) const;

  // Writes [resized rows, resized cols, 3] bytes, once all rows have been taken.
  void finish(uint8_t* to) const;

 private:
  const Passes& passes_;
  CutAxis down_, across_;
  Between between_;  // with the picture's rows
};

// The axis of `size` pixels resized to `target`, for `outputs` alone. Throws as `bilinear_filter` does.
CutAxis axis_of(int64_t size, int64_t target, Range outputs);

}  // namespace dcnn
