// The inverted residual block (dcnn_fast/ops/mbconv): maps are expanded at each pixel, filtered one by one, projected at each pixel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tile.h"
#include "tile_steps.h"

namespace dcnn {

// expands: else `expanded` is `channels`, and the maps are filtered as they are. residual: the input is added to the result. bf16: the
// operands of the products at each pixel are rounded to it, and summed in fp32.
struct MbConvShape {
  int64_t channels, expanded, filters, size, stride;
  bool expands, residual, bf16;

  // Of its two products at each pixel, those of the one that sums fewer.
  __attribute__((always_inline)) int64_t fewest_inputs() const { return expands && channels < expanded ? channels : expanded; }
};

// With so many inputs and more, products at each pixel are formed in a tile unit, where there is one. Counted, not measured: 16
// pixels and 16 outputs take a tile unit 16 cycles for every 32 inputs or what is there of them, and some 48 more in which
// their sums are begun, stored, and read and put in place; vectors of fp32 take 8 cycles for each input. With 8 inputs that is 64 and
// 64, with 16 it is 64 and 128, with 96 it is 96 and 768. What outputs lack of 16 both waste; pixels, of which a tile wants 16,
// must not decide: they are fewer where threads share an image, and an output's bits would depend on it.
constexpr int64_t kTileInputs = 16;

// How the products of a layer, or of both of a block's, are formed where an instruction set multiplies bfloat16 so.
static inline Bf16 pixel_products(Bf16 isa, bool bf16, int64_t fewest_inputs) {
  if (!bf16 || (isa == Bf16::tiles && fewest_inputs < kTileInputs)) return Bf16::floats;
  return isa;
}

// Inputs of a step of products: a layer's are filled up to whole ones.
static inline int64_t pixel_depth(Bf16 products) {
  return products == Bf16::tiles ? kTileDepth : products == Bf16::pairs ? 2 : 1;
}

// A layer's outputs lie in panels of up to kPanel vectors: [panels][inputs, or pairs of them][vectors of the panel][lanes].
constexpr int64_t kPanel = 3;

// How `outputs` are cut into panels of vectors of `lanes`: as few as there can be, as alike as there can be.
struct Panels {
  int64_t vectors, count;

  Panels(int64_t outputs, int64_t lanes) : vectors((outputs + lanes - 1) / lanes), count((vectors + kPanel - 1) / kPanel) {}
  int64_t first(int64_t panel) const { return panel * (vectors / count) + (panel < vectors % count ? panel : vectors % count); }
  int64_t width(int64_t panel) const { return vectors / count + (panel < vectors % count); }
};

// Weights as an instruction set's kernels read them; biases are padded to whole vectors with zeros.
struct MbConvWeights {
  const float *expand, *expand_bias;        // null where nothing is expanded
  const float *depthwise, *depthwise_bias;  // [vectors of expanded][taps][lanes]
  const float *project, *project_bias;
};

// A block over maps [height, width, channels] in fp32. top, left: zeros before the expanded maps; as many follow as windows need.
// next: weights that are wanted after the block, or null.
struct MbConvProblem {
  MbConvShape shape;
  MbConvWeights weights;
  int64_t height, width, out_height, out_width, top, left;
  const float* next;
};

// A layer at each pixel, with ReLU6 behind it.
struct PixelLayer {
  int64_t inputs, outputs;
  bool bf16;
  const float *weight, *bias;  // in panels; padded to whole vectors
};

struct MbConvKernels {
  int64_t lanes;  // of a vector
  // Floats of scratch for so many rows of results.
  size_t (*scratch)(const MbConvProblem&, int64_t rows);
  // Rows [first, last) of the results of one image, x [height, width, channels] and out [out_height, out_width, filters].
  void (*rows)(const MbConvProblem&, const float* x, float* out, int64_t first, int64_t last, float* scratch);
  // The same for a layer of so many pixels, x [count, inputs] and out [count, outputs].
  size_t (*pixels_scratch)(const PixelLayer&, int64_t count);
  void (*pixels)(const PixelLayer&, const float* x, int64_t count, float* out, float* scratch);
};

}  // namespace dcnn
