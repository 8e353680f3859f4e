// Networks as data, as in dcnn_fast/networks, read from a model file's header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "capi/json.h"
#include "core/views.h"
#include "kernel.h"

namespace dcnn {

struct PoolData {
  int64_t size = 3, stride = 2;
  bool averages = false;
};

// kind: cross_map or same_map.
struct NormData {
  Norm kind = Norm::cross_map;
  int64_t size = 5;
  double scale = 1e-4, power = 0.75, k = 1.0;
};

struct BlockData {
  int64_t filters = 0, size = 0, stride = 1, padding = 0, groups = 1;
  std::optional<PoolData> pool;
  std::optional<NormData> norm;
  bool norm_first = false, relu_last = false;
};

// An inverted residual block of EfficientNet-Lite (dcnn_fast/networks/efficientnet.py).
struct LiteBlock {
  int64_t channels, filters, size, stride, expansion;

  int64_t expanded() const { return expansion * channels; }
  bool residual() const { return stride == 1 && channels == filters; }
};

// The layers of a variant: its blocks, stage by stage.
using LiteStages = std::vector<std::vector<LiteBlock>>;
constexpr int64_t kLiteStem = 32, kLiteHead = 1280, kLiteChannels = 3;
constexpr float kLiteMean = 127.0f, kLiteScale = 1.0f / 128.0f;

// A column of blocks, or of EfficientNet-Lite's layers where `lite` is not empty; features of the stages in `stages` are then
// kept too. The fully-connected layers take `features` numbers.
struct ColumnData {
  View view = View::warp;
  int64_t plane = 256, window = 224, channels = 3;
  std::vector<int64_t> fc;
  int64_t features = 0;

  std::vector<BlockData> blocks;
  std::vector<int64_t> extents;  // sides of the window and of each block's output
  bool round_up = true, mean_of_maps = false;
  std::vector<double> mean;
  double scale = 1.0;

  LiteStages lite;
  std::vector<int64_t> stages;

  bool is_backbone() const { return !lite.empty(); }
};

struct NetworkData {
  std::string name;
  std::vector<ColumnData> columns;
  std::vector<std::string> labels, attributes;
  std::optional<int64_t> long_side;
};

// Parses a header's "network". Throws std::invalid_argument naming the fault, or Failure for a valid network that this library
// does not run.
NetworkData network_of(const Json& json);

// The tensors of a file with the network's weights, by name, in order.
struct TensorShape {
  std::string name;
  std::vector<int64_t> shape;
};
std::vector<TensorShape> tensors_of(const NetworkData& network);

}  // namespace dcnn
