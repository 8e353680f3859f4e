#include "capi/column_net.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "core/plan/plan.h"
#include "core/tile.h"

namespace dcnn {

namespace {

constexpr double kMacsPerByte = 9.0;  // MACS_PER_BYTE of dcnn_fast/plan/cost.py

BlockSpec spec_of(const BlockData& block, int64_t channels, bool round_up) {
  BlockSpec spec{};
  spec.channels = channels;
  spec.filters = block.filters;
  spec.size = block.size;
  spec.stride = block.stride;
  spec.padding = block.padding;
  spec.groups = block.groups;
  spec.round_up = round_up;
  spec.pool_size = block.pool ? block.pool->size : 1;
  spec.pool_stride = block.pool ? block.pool->stride : 1;
  spec.norm = block.norm ? block.norm->kind : Norm::none;
  spec.norm_size = 1;
  spec.norm_scale = 0.0f;
  spec.norm_power = spec.norm_k = 1.0f;
  if (block.norm) {
    const auto size = static_cast<double>(block.norm->size);
    spec.norm_size = block.norm->size;
    spec.norm_scale = static_cast<float>(block.norm->scale / (block.norm->kind == Norm::cross_map ? size : size * size));
    spec.norm_power = static_cast<float>(block.norm->power);
    spec.norm_k = static_cast<float>(block.norm->k);
  }
  spec.norm_first = block.norm_first;
  spec.precision = Precision::ieee;
  spec.mean.assign(static_cast<size_t>(channels), 0.0f);
  spec.scale = 1.0f;
  spec.pool_average = block.pool && block.pool->averages;
  spec.relu_last = block.relu_last && (block.pool || block.norm);
  require_block(spec);
  return spec;
}

// The planner's record of a block whose convolution runs in the instruction set's tiles.
BlockRow row_of(const Isa& isa, const BlockSpec& b) {
  const OutputTile tile = engine_tile({b.size, b.stride, b.channels / b.groups, b.filters / b.groups}, b.precision, isa.bf16);
  const int64_t within = b.norm == Norm::same_map ? b.norm_size : 1;
  return {b.filters, b.size, b.stride, b.padding, b.groups, b.pool_size, b.pool_stride, within, b.norm_first, tile.side, tile.size, tile.macs};
}

// A picture's window as a kernel's source.
Source source_of(const Picture& picture, const Window& corner) {
  return {picture.bytes + corner.top * picture.pitch + 3 * corner.left, true, 1, picture.pitch, 3, picture.rows * picture.pitch};
}

bool all_are_one(const std::vector<Window>& windows) {
  return std::all_of(windows.begin(), windows.end(), [&](const Window& w) { return w.top == windows[0].top && w.left == windows[0].left; });
}

class BlockNet : public ColumnNet {
 public:
  BlockNet(const Isa& isa, const ColumnData& data, const std::string& name, WeightsByName& weights)
      : ColumnNet(data, name, weights), shape_{data.channels, data.window, data.round_up, {}} {
    int64_t channels = data.channels;
    for (size_t i = 0; i < data.blocks.size(); ++i) {
      specs_.push_back(spec_of(data.blocks[i], channels, data.round_up));
      weights_.push_back(layer_named(weights, name + ".blocks." + std::to_string(i)));
      shape_.blocks.push_back(row_of(isa, specs_.back()));
      channels = data.blocks[i].filters;
    }
    for (size_t i = 0; i < data.mean.size(); ++i) specs_[0].mean[i] = static_cast<float>(data.mean[i]);
    specs_[0].scale = static_cast<float>(data.scale);
    require_column(shape_);
  }

 protected:
  WindowRows features(const Isa& isa, const Picture& plane, const std::vector<Window>& windows, int threads) const override {
    Plan plan = plan_for(windows, {plane.rows, plane.cols});
    std::vector<ColumnBlock> column;
    for (size_t i = 0; i < specs_.size(); ++i) column.push_back({specs_[i], {weights_[i].weight.data(), weights_[i].bias.data(), false}});
    require_column_of(column, plan.blocks, data_.channels);
    const OutputShape& last = plan.blocks.back().outputs.front();
    WindowRows rows;
    rows.values.resize(static_cast<size_t>(last.images * specs_.back().filters * last.rows * last.cols));
    run_column(isa, column, plan.blocks, source_of(plane, {0, 0}), {1, plane.rows, plane.cols}, rows.values.data(), threads);
    if (data_.mean_of_maps) rows.values = averaged(isa, rows.values, last.rows * last.cols, threads);
    rows.window_of = std::move(plan.window_of);
    return rows;
  }

 private:
  Plan plan_for(const std::vector<Window>& windows, const PlaneShape& plane) const {
    const PlanOptions options{kMacsPerByte, false};
    if (!all_are_one(windows)) return plan_of(shape_, windows, plane, options);
    Plan plan = plan_of(shape_, {windows[0]}, plane, options);
    plan.window_of.assign(windows.size(), 0);
    return plan;
  }

  // The mean of each map over its `places` values.
  static std::vector<float> averaged(const Isa& isa, const std::vector<float>& maps, int64_t places, int threads) {
    const auto share = static_cast<float>(1.0 / static_cast<double>(places));
    return Layer{std::vector<float>(static_cast<size_t>(places), share), {0.0f}}.of(isa, maps, false, threads);
  }

  ColumnShape shape_;
  std::vector<BlockSpec> specs_;
  std::vector<Layer> weights_;
};

class BackboneNet : public ColumnNet {
 public:
  BackboneNet(const Isa& isa, const ColumnData& data, const std::string& name, WeightsByName& weights) : ColumnNet(data, name, weights) {
    const std::string prefix = name + ".backbone.";
    const Layer stem = layer_named(weights, prefix + "stem"), head = layer_named(weights, prefix + "head");
    bool none = all_zero(stem) && all_zero(head);
    std::vector<std::shared_ptr<PackedMbConv>> blocks;
    std::vector<int64_t> taps, last;
    for (const auto& stage : data.lite) {
      for (const LiteBlock& block : stage) {
        const std::string at = prefix + "blocks." + std::to_string(blocks.size()) + ".";
        const Layer expand = block.expansion > 1 ? layer_named(weights, at + "expand") : Layer{};
        const Layer depthwise = layer_named(weights, at + "depthwise"), project = layer_named(weights, at + "project");
        none = none && all_zero(expand) && all_zero(depthwise) && all_zero(project);
        const MbConvShape shape{block.channels, block.expanded(), block.filters, block.size, block.stride, block.expansion > 1,
                                block.residual(), false};
        const MbConvLayer first = block.expansion > 1 ? plain(expand) : MbConvLayer{nullptr, nullptr};
        blocks.push_back(std::make_shared<PackedMbConv>(isa, shape, first, plain(depthwise), plain(project)));
      }
      last.push_back(static_cast<int64_t>(blocks.size()) - 1);
    }
    if (none) throw std::invalid_argument(name + "'s layers have no weights yet");
    for (const int64_t stage : data.stages) taps.push_back(last[static_cast<size_t>(stage)]);
    const Stem shape{kLiteChannels, kLiteStem, 3, 2, std::vector<float>(kLiteChannels, kLiteMean), kLiteScale};
    net_ = std::make_unique<Backbone>(isa, shape, plain(stem), std::move(blocks), kLiteHead, plain(head), std::move(taps), false);
  }

 protected:
  WindowRows features(const Isa&, const Picture& plane, const std::vector<Window>& windows, int threads) const override {
    DistinctWindows found = distinct(windows);
    const auto count = static_cast<int64_t>(found.windows.size()), side = data_.window;
    WindowRows rows;
    rows.values.resize(static_cast<size_t>(count * net_->features()));
    if (count == 1) {
      run_backbone(*net_, source_of(plane, found.windows[0]), 1, side, side, rows.values.data(), threads);
    } else {
      const std::vector<uint8_t> cut = windows_cut(plane, found.windows, side);
      run_backbone(*net_, {cut.data(), true, 1, 3 * side, 3, 3 * side * side}, count, side, side, rows.values.data(), threads);
    }
    rows.window_of = std::move(found.window_of);
    return rows;
  }

 private:
  static MbConvLayer plain(const Layer& layer) { return {layer.weight.data(), layer.bias.data()}; }

  static bool all_zero(const Layer& layer) {
    const auto zero = [](float value) { return value == 0.0f; };
    return std::all_of(layer.weight.begin(), layer.weight.end(), zero) && std::all_of(layer.bias.begin(), layer.bias.end(), zero);
  }

  static std::vector<uint8_t> windows_cut(const Picture& plane, const std::vector<Window>& windows, int64_t side) {
    std::vector<uint8_t> cut(windows.size() * static_cast<size_t>(3 * side * side));
    uint8_t* to = cut.data();
    for (const Window& window : windows) {
      for (int64_t row = window.top; row < window.top + side; ++row, to += 3 * side) {
        std::memcpy(to, plane.bytes + row * plane.pitch + 3 * window.left, static_cast<size_t>(3 * side));
      }
    }
    return cut;
  }

  std::unique_ptr<Backbone> net_;
};

}  // namespace

ColumnNet::ColumnNet(ColumnData data, const std::string& name, WeightsByName& weights) : data_(std::move(data)) {
  for (size_t i = 0; i < data_.fc.size(); ++i) fc_.push_back(layer_named(weights, name + ".fc." + std::to_string(i)));
}

WindowRows ColumnNet::rows(const Isa& isa, const Picture& plane, const std::vector<Window>& windows, int threads) const {
  WindowRows found = features(isa, plane, windows, threads);
  for (const Layer& layer : fc_) found.values = layer.of(isa, found.values, true, threads);
  return found;
}

std::unique_ptr<ColumnNet> column_net(const Isa& isa, const ColumnData& data, const std::string& name, WeightsByName& weights) {
  if (data.is_backbone()) return std::make_unique<BackboneNet>(isa, data, name, weights);
  return std::make_unique<BlockNet>(isa, data, name, weights);
}

}  // namespace dcnn
