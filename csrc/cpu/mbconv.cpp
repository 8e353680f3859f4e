#include "mbconv.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "spread.h"

namespace dcnn {

namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;
constexpr int64_t kMostTaps = 64;  // along an axis

void require(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  throw std::invalid_argument("mbconv: " + std::string(name) + " must be " + std::to_string(least) + " to " + std::to_string(most) +
                              ", got " + std::to_string(value));
}

void require_shape(const MbConvShape& s) {
  require("channels", s.channels, 1, kMost);
  require("expanded", s.expanded, 1, kMost);
  require("filters", s.filters, 1, kMost);
  require("size", s.size, 1, kMostTaps);
  require("stride", s.stride, 1, s.size);
  if (!s.expands && s.expanded != s.channels) throw std::invalid_argument("mbconv: where nothing is expanded, expanded must be channels");
  if (s.residual && (s.stride != 1 || s.filters != s.channels)) {
    throw std::invalid_argument("mbconv: with a residual, stride must be 1 and filters must be channels");
  }
}

Buffer padded(const float* values, int64_t count, int64_t lanes) {
  Buffer found = Buffer::zeros(static_cast<size_t>(round_up(count, lanes)));
  std::memcpy(found.data(), values, static_cast<size_t>(count) * sizeof(float));
  return found;
}

// Packs [outputs, inputs] into panels; values are rounded to bfloat16 with bf16, and paired where the products are not of
// floats.
Buffer panels_of(const float* weight, int64_t outputs, int64_t inputs, bool bf16, Bf16 products, int64_t lanes) {
  const Panels panels(outputs, lanes);
  const int64_t depth = products == Bf16::floats ? 1 : 2, steps = round_up(inputs, pixel_depth(products)) / depth;
  Buffer found = Buffer::zeros(static_cast<size_t>(steps * panels.vectors * lanes));
  float* to = found.data();
  for (int64_t panel = 0; panel < panels.count; ++panel) {
    const int64_t first = panels.first(panel) * lanes, wide = panels.width(panel) * lanes;
    for (int64_t k = 0; k < inputs; ++k) {
      for (int64_t n = first; n < std::min(first + wide, outputs); ++n) {
        const float value = weight[n * inputs + k];
        float* const place = to + k / depth * wide + (n - first);
        if (depth == 2) {
          const uint16_t bits = to_bf16(value);
          std::memcpy(reinterpret_cast<char*>(place) + k % 2 * sizeof bits, &bits, sizeof bits);
        } else {
          *place = bf16 ? from_bf16(to_bf16(value)) : value;
        }
      }
    }
    to += steps * wide;
  }
  return found;
}

// Packs [maps, taps] as [vectors of maps][taps][lanes].
Buffer taps_of(const float* weight, int64_t maps, int64_t taps, int64_t lanes) {
  Buffer found = Buffer::zeros(static_cast<size_t>(round_up(maps, lanes) * taps));
  for (int64_t n = 0; n < maps; ++n) {
    for (int64_t i = 0; i < taps; ++i) found.data()[(n / lanes * taps + i) * lanes + n % lanes] = weight[n * taps + i];
  }
  return found;
}

}  // namespace

int64_t padding_before(int64_t extent, int64_t outputs, int64_t size, int64_t stride) {
  return std::max<int64_t>((outputs - 1) * stride + size - extent, 0) / 2;
}

PackedPixels::PackedPixels(const Isa& isa, int64_t inputs, int64_t outputs, bool bf16, const MbConvLayer& layer)
    : inputs_(inputs), outputs_(outputs), bf16_(bf16) {
  require("inputs", inputs, 1, kMost);
  require("outputs", outputs, 1, kMost);
  const int64_t lanes = isa.mbconv().lanes;
  weight_ = panels_of(layer.weight, outputs, inputs, bf16, pixel_products(isa.bf16, bf16, inputs), lanes);
  bias_ = padded(layer.bias, outputs, lanes);
}

PackedMbConv::PackedMbConv(const Isa& isa, const MbConvShape& shape, const MbConvLayer& expand, const MbConvLayer& depthwise,
                           const MbConvLayer& project)
    : isa_(&isa), shape_(shape) {
  require_shape(shape);
  const int64_t lanes = isa.mbconv().lanes;
  const Bf16 products = pixel_products(isa.bf16, shape.bf16, shape.fewest_inputs());
  if (shape.expands) {
    expand_ = panels_of(expand.weight, shape.expanded, shape.channels, shape.bf16, products, lanes);
    expand_bias_ = padded(expand.bias, shape.expanded, lanes);
  }
  depthwise_ = taps_of(depthwise.weight, shape.expanded, shape.size * shape.size, lanes);
  depthwise_bias_ = padded(depthwise.bias, shape.expanded, lanes);
  project_ = panels_of(project.weight, shape.filters, shape.expanded, shape.bf16, products, lanes);
  project_bias_ = padded(project.bias, shape.filters, lanes);
}

MbConvProblem PackedMbConv::over(int64_t height, int64_t width) const {
  require("height", height, 1, kMost);
  require("width", width, 1, kMost);
  const double floats = static_cast<double>(height + 2 * kMostTaps) * static_cast<double>(width + 2 * kMostTaps) *
                        static_cast<double>(shape_.expanded + shape_.channels + shape_.filters + 64);
  constexpr double kMostFloats = 1125899906842624.0;  // 2**50: no intermediate sum of a size exceeds 64 bits
  if (floats > kMostFloats) throw std::invalid_argument("mbconv: the maps must be such that their values can be counted in 64 bits");
  const int64_t out_height = (height + shape_.stride - 1) / shape_.stride, out_width = (width + shape_.stride - 1) / shape_.stride;
  const MbConvWeights weights{expand_.data(),   expand_bias_.data(), depthwise_.data(), depthwise_bias_.data(),
                              project_.data(), project_bias_.data()};
  return {shape_, weights, height, width, out_height, out_width, padding_before(height, out_height, shape_.size, shape_.stride),
          padding_before(width, out_width, shape_.size, shape_.stride), nullptr};
}

void run_mbconv(const PackedMbConv& block, int64_t images, int64_t height, int64_t width, const float* x, float* out, int threads,
                const float* next) {
  MbConvProblem p = block.over(height, width);
  p.next = next;
  const MbConvKernels& kernels = block.isa().mbconv();
  const int64_t in_floats = height * width * p.shape.channels, out_floats = p.out_height * p.out_width * p.shape.filters;
  // Cuts images into bands where images are fewer than threads; rows that two bands read are expanded twice.
  const int64_t bands = images == 0 ? 1 : std::min(p.out_height, (threads + images - 1) / images);
  spread(images * bands, threads, [&](int64_t i, Scratch& scratch) {
    const int64_t image = i / bands, band = i % bands;
    const int64_t first = band * p.out_height / bands, last = (band + 1) * p.out_height / bands;
    kernels.rows(p, x + image * in_floats, out + image * out_floats, first, last, scratch.at_least(kernels.scratch(p, last - first)));
  });
}

}  // namespace dcnn
