#include "capi/network_cost.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "capi/bounds.h"
#include "capi/lite.h"
#include "core/plan/column.h"

namespace dcnn {

namespace {

// Sums in doubles: they may exceed 64-bit integers, and are exact within the bounds.
class Costs {
 public:
  // Adds a layer with `filters` values of `terms` products at each of `places` places.
  void add(double filters, double terms, double places) {
    add_inner(filters, terms, places);
    if (filters * places > kMostValues) throw std::invalid_argument("Network: a layer must give at most 33,554,432 values for a window");
  }

  // Adds a layer inside a block, whose values are not kept: Python counts the values of whole blocks.
  void add_inner(double filters, double terms, double places) {
    parameters_ += filters * (terms + 1);
    add_products(filters * terms * places);
  }

  void add_products(double products) { multiplications_ += products; }

  void require() const {
    if (parameters_ > kMostParameters) throw std::invalid_argument("Network: the layers must have at most 2,147,483,648 parameters");
    if (multiplications_ > kMostMultiplications) {
      throw std::invalid_argument("Network: the layers must have at most 68,719,476,736 multiplications for a window");
    }
  }

 private:
  double parameters_ = 0.0, multiplications_ = 0.0;
};

double d(int64_t value) { return static_cast<double>(value); }

void add_norm(Costs& costs, const BlockData& block, int64_t conv, int64_t out) {
  const int64_t side = block.norm_first ? conv : out, size = block.norm->size;
  const double sums = block.norm->kind == Norm::cross_map ? d(std::min(size, block.filters)) : d(std::min(size, side)) * d(std::min(size, side));
  costs.add_products(d(block.filters) * d(side) * d(side) * sums);
}

void add_blocks(Costs& costs, const ColumnData& column) {
  int64_t channels = column.channels;
  for (size_t i = 0; i < column.blocks.size(); ++i) {
    const BlockData& block = column.blocks[i];
    const int64_t conv = window_count(column.extents[i] + 2 * block.padding, block.size, block.stride, column.round_up);
    costs.add(d(block.filters), d(block.size * block.size * (channels / block.groups)), d(conv) * d(conv));
    if (block.norm) add_norm(costs, block, conv, column.extents[i + 1]);
    channels = block.filters;
  }
}

void add_lite(Costs& costs, const ColumnData& column) {
  int64_t side = (column.window + 1) / 2;
  costs.add(d(kLiteStem), d(9 * kLiteChannels), d(side) * d(side));
  for (const auto& stage : column.lite) {
    for (const LiteBlock& block : stage) {
      const int64_t before = side;
      side = (side + block.stride - 1) / block.stride;
      if (block.expansion > 1) costs.add_inner(d(block.expanded()), d(block.channels), d(before) * d(before));
      costs.add_inner(d(block.expanded()), d(block.size * block.size), d(side) * d(side));
      costs.add(d(block.filters), d(block.expanded()), d(side) * d(side));
    }
  }
  costs.add(d(kLiteHead), d(column.lite.back().back().filters), d(side) * d(side));
}

}  // namespace

void require_affordable(const NetworkData& network) {
  Costs costs;
  int64_t joined = 0;
  for (const ColumnData& column : network.columns) {
    column.is_backbone() ? add_lite(costs, column) : add_blocks(costs, column);
    int64_t inputs = column.features;
    for (const int64_t size : column.fc) {
      costs.add(d(size), d(inputs), 1);
      inputs = size;
    }
    joined += inputs;
  }
  costs.add(d(static_cast<int64_t>(network.labels.size() + network.attributes.size())), d(joined), 1);
  costs.require();
}

std::vector<TensorShape> tensors_of(const NetworkData& network) {
  std::vector<TensorShape> tensors;
  const auto layer = [&](const std::string& name, std::vector<int64_t> shape) {
    const int64_t outputs = shape[0];
    tensors.push_back({name + ".weight", std::move(shape)});
    tensors.push_back({name + ".bias", {outputs}});
  };
  int64_t joined = 0;
  for (size_t i = 0; i < network.columns.size(); ++i) {
    const ColumnData& column = network.columns[i];
    const std::string name = "columns." + std::to_string(i);
    if (column.is_backbone()) {
      const auto lite = lite_tensors(column.lite, name + ".backbone");
      tensors.insert(tensors.end(), lite.begin(), lite.end());
    }
    int64_t channels = column.channels;
    for (size_t j = 0; j < column.blocks.size(); ++j) {
      const BlockData& block = column.blocks[j];
      layer(name + ".blocks." + std::to_string(j), {block.filters, channels / block.groups, block.size, block.size});
      channels = block.filters;
    }
    int64_t inputs = column.features;
    for (size_t j = 0; j < column.fc.size(); ++j) {
      layer(name + ".fc." + std::to_string(j), {column.fc[j], inputs});
      inputs = column.fc[j];
    }
    joined += inputs;
  }
  layer("label", {static_cast<int64_t>(network.labels.size()), joined});
  if (!network.attributes.empty()) layer("attribute", {static_cast<int64_t>(network.attributes.size()), joined});
  return tensors;
}

}  // namespace dcnn
