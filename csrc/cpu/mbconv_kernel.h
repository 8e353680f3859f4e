// The inverted residual block (dcnn_fast/ops/mbconv): maps are expanded at each pixel, filtered separately, and projected at
// each pixel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tile.h"
#include "tile_steps.h"

namespace dcnn {

// expands: if not, `expanded` equals `channels`, and the maps are filtered directly. residual: the input is added to the
// result. bf16: the operands of the products at each pixel are rounded to bfloat16, and summed in fp32.
struct MbConvShape {
  int64_t channels, expanded, filters, size, stride;
  bool expands, residual, bf16;

  // Inputs of the shorter of the two products at each pixel.
  __attribute__((always_inline)) int64_t fewest_inputs() const { return expands && channels < expanded ? channels : expanded; }
};

// The least number of inputs for which products at each pixel use a tile unit, where there is one. Counted, not measured: for
// 16 pixels and 16 outputs a tile unit takes 16 cycles for every 32 inputs or part of them, and some 48 more to initialise,
// store, reload and place the sums; vectors of fp32 take 8 cycles per input. That is 64 and 64 cycles with 8 inputs, 64 and 128
// with 16, 96 and 768 with 96. Both waste outputs short of 16. The number of pixels, of which a tile takes 16, must not decide:
// it is smaller where threads share an image, and an output's bits would depend on it.
constexpr int64_t kTileInputs = 16;

// The form of a layer's products, or of both of a block's, on an instruction set that multiplies bfloat16 in the form `isa`.
static inline Bf16 pixel_products(Bf16 isa, bool bf16, int64_t fewest_inputs) {
  if (!bf16 || (isa == Bf16::tiles && fewest_inputs < kTileInputs)) return Bf16::floats;
  return isa;
}

// Inputs per step of products; layers are padded to whole steps.
static inline int64_t pixel_depth(Bf16 products) {
  return products == Bf16::tiles ? kTileDepth : products == Bf16::pairs ? 2 : 1;
}

// A layer's outputs lie in panels of up to kPanel vectors: [panels][inputs, or pairs of them][vectors of the panel][lanes].
constexpr int64_t kPanel = 3;

// Divides `outputs`, in vectors of `lanes`, into panels: as few as possible, as equal as possible.
struct Panels {
  int64_t vectors, count;

  Panels(int64_t outputs, int64_t lanes) : vectors((outputs + lanes - 1) / lanes), count((vectors + kPanel - 1) / kPanel) {}
  int64_t first(int64_t panel) const { return panel * (vectors / count) + (panel < vectors % count ? panel : vectors % count); }
  int64_t width(int64_t panel) const { return vectors / count + (panel < vectors % count); }
};

// Weights in the kernels' order; biases are padded to whole vectors with zeros.
struct MbConvWeights {
  const float *expand, *expand_bias;        // null where nothing is expanded
  const float *depthwise, *depthwise_bias;  // [vectors of expanded][taps][lanes]
  const float *project, *project_bias;
};

// A block over maps [height, width, channels] in fp32. top, left: zeros before the expanded maps; as many follow as windows
// need. next: weights needed after the block, or null.
struct MbConvProblem {
  MbConvShape shape;
  MbConvWeights weights;
  int64_t height, width, out_height, out_width, top, left;
  const float* next;
};

// A layer at each pixel, followed by ReLU6.
struct PixelLayer {
  int64_t inputs, outputs;
  bool bf16;
  const float *weight, *bias;  // in panels; padded to whole vectors
};

struct MbConvKernels {
  int64_t lanes;  // per vector
  // Floats of scratch for `rows` rows of results.
  size_t (*scratch)(const MbConvProblem&, int64_t rows);
  // Computes rows [first, last) of one image's results from x [height, width, channels]; out: [out_height, out_width, filters].
  void (*rows)(const MbConvProblem&, const float* x, float* out, int64_t first, int64_t last, float* scratch);
  // The same for a layer of `count` pixels, x [count, inputs] and out [count, outputs].
  size_t (*pixels_scratch)(const PixelLayer&, int64_t count);
  void (*pixels)(const PixelLayer&, const float* x, int64_t count, float* out, float* scratch);
};

}  // namespace dcnn
