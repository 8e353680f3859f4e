#include "core/resample_strips.h"

namespace dcnn {

bool StripResizer::takes(int64_t rows, int64_t cols, int64_t resized_rows, int64_t resized_cols) {
  return rows != resized_rows && cols != resized_cols && !down_comes_first(rows - resized_rows, cols - resized_cols);
}

StripResizer::StripResizer(int64_t rows, int64_t cols, int64_t resized_rows, int64_t resized_cols, const Passes& passes)
    : passes_(passes),
      down_(axis_of(rows, resized_rows, {0, resized_rows - 1})),
      across_(axis_of(cols, resized_cols, {0, resized_cols - 1})),
      between_(rows, resized_cols) {}

AcrossWork StripResizer::of(const Picture& strip, int64_t first) const {
  const Canvas whole = between_.canvas();
  return {{strip.bytes + 3 * across_.source.first, strip.rows, across_.source.count(), strip.pitch},
          across_.pass(),
          {whole.bytes + first * whole.pitch, strip.rows, whole.cols, whole.pitch}};
}

void StripResizer::finish(uint8_t* to) const {
  const Picture whole = between_.picture();
  const PassFilter filter = down_.pass();
  passes_.down({whole.bytes + down_.source.first * whole.pitch, down_.source.count(), whole.cols, whole.pitch}, filter,
               {to, filter.count, whole.cols, whole.pitch});
}

}  // namespace dcnn
