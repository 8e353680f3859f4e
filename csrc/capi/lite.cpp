#include "capi/lite.h"

#include <algorithm>
#include <cmath>

namespace dcnn {

namespace {

struct Stage {
  int64_t filters, blocks, size, stride, expansion;
};

constexpr Stage kStages[] = {{16, 1, 3, 1, 1}, {24, 2, 3, 2, 6}, {40, 2, 5, 2, 6}, {80, 3, 3, 2, 6},
                             {112, 3, 5, 1, 6}, {192, 4, 5, 2, 6}, {320, 1, 3, 1, 6}};
constexpr size_t kLast = std::size(kStages) - 1;

struct Multiples {
  double width, depth;
};

constexpr Multiples kMultiples[] = {{1.0, 1.0}, {1.0, 1.1}, {1.1, 1.2}};

// The nearest multiple of eight that is at least nine tenths of the scaled width.
int64_t widened(int64_t filters, double width) {
  const double wanted = static_cast<double>(filters) * width;
  const int64_t found = std::max<int64_t>(8, static_cast<int64_t>(wanted + 4.0) / 8 * 8);
  return static_cast<double>(found) < 0.9 * wanted ? found + 8 : found;
}

void add_layer(std::vector<TensorShape>& tensors, const std::string& name, const std::vector<int64_t>& shape) {
  tensors.push_back({name + ".weight", shape});
  tensors.push_back({name + ".bias", {shape[0]}});
}

}  // namespace

const std::vector<std::string>& lite_names() {
  static const std::vector<std::string> names{"lite0", "lite1", "lite2"};
  return names;
}

LiteStages lite_stages(size_t variant) {
  const Multiples by = kMultiples[variant];
  LiteStages stages;
  int64_t channels = kLiteStem;
  for (size_t number = 0; number <= kLast; ++number) {
    const Stage& stage = kStages[number];
    const bool fixed = number == 0 || number == kLast;
    const int64_t count = fixed ? stage.blocks : static_cast<int64_t>(std::ceil(by.depth * static_cast<double>(stage.blocks)));
    std::vector<LiteBlock>& blocks = stages.emplace_back();
    for (int64_t i = 0; i < count; ++i) {
      blocks.push_back({channels, widened(stage.filters, by.width), stage.size, i > 0 ? 1 : stage.stride, stage.expansion});
      channels = blocks.back().filters;
    }
  }
  return stages;
}

std::vector<TensorShape> lite_tensors(const LiteStages& stages, const std::string& prefix) {
  std::vector<TensorShape> tensors;
  add_layer(tensors, prefix + ".stem", {kLiteStem, kLiteChannels, 3, 3});
  int64_t number = 0;
  for (const auto& stage : stages) {
    for (const LiteBlock& block : stage) {
      const std::string name = prefix + ".blocks." + std::to_string(number++);
      if (block.expansion > 1) add_layer(tensors, name + ".expand", {block.expanded(), block.channels});
      add_layer(tensors, name + ".depthwise", {block.expanded(), block.size, block.size});
      add_layer(tensors, name + ".project", {block.filters, block.expanded()});
    }
  }
  add_layer(tensors, prefix + ".head", {kLiteHead, stages.back().back().filters});
  return tensors;
}

}  // namespace dcnn
