// The gradients of a block: the problem, and an instruction set's kernels for it.
#pragma once

#include "kernel.h"

namespace dcnn {

// The gradients of `images` whole images. Activations are [images, rows, cols, filters], floats. Null: a gradient that is not
// wanted, or a value that the forward did not keep.
struct GradientProblem {
  BlockProblem block;  // the forward's; its one source is the block's input
  int64_t images, height, width, padding;
  int64_t conv_rows, conv_cols, out_rows, out_cols;
  bool first;            // among equal maxima, only the first in row order takes the gradient; otherwise all do
  const float* grad;     // with respect to the block's result
  const float* values;   // the norm's input or, without pool and norm, the result
  const uint16_t* hits;  // the pool's (hits_impl.h)
  bool again;            // nothing was kept: the convolution is computed again
  // The gradient of the input, as a convolution of stride 1 over that of the convolution's outputs: its filters are the input's
  // channels for each of stride x stride residues of a pixel, [groups, stride, stride, channels of a group].
  const BlockProblem* input;
  float* grad_x;       // [images, height, width, channels]
  float* grad_weight;  // [filters, size, size, channels of a group]
  float* grad_bias;    // [filters]
};

// All convolution outputs of one image.
static inline RegionRow whole_image(const GradientProblem& q, int64_t image) {
  return {0, image, 0, 0, q.height, q.width, -q.padding, -q.padding, q.conv_rows, q.conv_cols, 0, 0, 0, 1};
}

struct GradientKernels {
  // The stride of a position in activations in scratch: filters in whole vectors.
  int64_t (*row)(int64_t filters);
  // Computes the gradient of one image's convolution outputs before the ReLU, [conv_rows, conv_cols, row(filters)], followed by
  // `filter_block` zeros. relu: those outputs after the ReLU, [conv_rows, conv_cols, filters], where they had to be computed
  // again.
  size_t (*tail_scratch)(const GradientProblem&);
  void (*tail)(const GradientProblem&, int64_t image, const float* relu, float* conv_grad, float* scratch);
  // The gradients of weight and bias for a chunk of images: `weights` floats [groups, blocks of filters, size, size, channels
  // of a group, filters of a block], then row(filters) floats for the bias. Each image adds its share to `sums` and `running`,
  // which start at zero, and `finish` adds `running` to `sums`.
  size_t (*weights)(const GradientProblem&);
  size_t (*running)(const GradientProblem&);
  size_t (*weight_scratch)(const GradientProblem&);
  void (*weight)(const GradientProblem&, int64_t image, const float* conv_grad, float* sums, float* running, float* scratch);
  void (*finish)(const GradientProblem&, const float* running, float* sums);
};

}  // namespace dcnn
