// The inverted residual block's weights in the kernels' order, and the block over images.
#pragma once

#include <cstdint>
#include <memory>

#include "buffer.h"
#include "kernel.h"
#include "mbconv_kernel.h"

namespace dcnn {

// A layer's parameters from the caller. weight: [expanded, channels], [expanded, size, size] or [filters, expanded]. bias:
// [outputs].
struct MbConvLayer {
  const float *weight, *bias;
};

// A layer at each pixel, followed by ReLU6, with a packed copy of its weights for an instruction set.
class PackedPixels {
 public:
  // layer.weight: [outputs, inputs].
  PackedPixels(const Isa& isa, int64_t inputs, int64_t outputs, bool bf16, const MbConvLayer& layer);

  PixelLayer layer() const { return {inputs_, outputs_, bf16_, weight_.data(), bias_.data()}; }

 private:
  int64_t inputs_, outputs_;
  bool bf16_;
  Buffer weight_, bias_;
};

// An immutable, packed copy of a block's weights for an instruction set.
class PackedMbConv {
 public:
  // expand: its weight is null where nothing is expanded. Throws std::invalid_argument naming the impossible value.
  PackedMbConv(const Isa& isa, const MbConvShape& shape, const MbConvLayer& expand, const MbConvLayer& depthwise,
               const MbConvLayer& project);

  const Isa& isa() const { return *isa_; }
  const MbConvShape& shape() const { return shape_; }
  const float* first_weights() const { return shape_.expands ? expand_.data() : project_.data(); }

  // The block over maps of this extent. Throws std::invalid_argument where sizes would overflow.
  MbConvProblem over(int64_t height, int64_t width) const;

 private:
  const Isa* isa_;
  MbConvShape shape_;
  Buffer expand_, expand_bias_, depthwise_, depthwise_bias_, project_, project_bias_;
};

// Zeros before an axis so that `outputs` = ceil(extent / stride) windows fit; where their number is odd, the extra one comes
// last.
int64_t padding_before(int64_t extent, int64_t outputs, int64_t size, int64_t stride);

// x [images, height, width, channels] -> out [images, out_height, out_width, filters], on `threads` threads. next: weights
// needed after the block, prefetched meanwhile.
void run_mbconv(const PackedMbConv& block, int64_t images, int64_t height, int64_t width, const float* x, float* out, int threads,
                const float* next = nullptr);

}  // namespace dcnn
