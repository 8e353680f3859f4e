#include "capi/network.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

#include "capi/bounds.h"
#include "capi/fields.h"
#include "capi/lite.h"
#include "capi/network_cost.h"
#include "capi/status.h"
#include "capi/utf8.h"
#include "core/plan/column.h"

namespace dcnn {

namespace {

const std::vector<std::string> kViews{"center", "warp", "pad", "local"};  // in the order of View
const std::vector<std::string> kOrders{"conv-pool-norm", "conv-norm-pool", "conv-pool-norm-relu", "conv-norm-pool-relu"};

PoolData pool_of(const Json& json) {
  Fields fields("Pool", json);
  PoolData pool;
  pool.size = fields.integer("size", 1, kMostFilterSide, pool.size);
  pool.stride = fields.integer("stride", 1, (int64_t{1} << 31) - 1, pool.stride);
  if (pool.stride > pool.size) fields.refuse("stride", "no more than size", std::to_string(pool.stride));
  pool.averages = fields.choice("kind", {"max", "avg"}, 0) == 1;
  fields.finish();
  return pool;
}

NormData norm_of(const Json& json) {
  Fields fields("norm", json);
  NormData norm;
  fields.need("kind");
  norm.kind = fields.choice("kind", {"cross_map", "same_map"}, 0) == 0 ? Norm::cross_map : Norm::same_map;
  const bool across = norm.kind == Norm::cross_map;
  norm.size = fields.integer("size", 1, kMostNormSize, across ? 5 : 3);
  norm.scale = fields.finite("scale", across ? 1e-4 : 5e-5);
  norm.power = fields.finite("power", norm.power);
  if (across) norm.k = fields.finite("k", norm.k);
  if (norm.scale < 0) fields.refuse("scale", "no less than 0", std::to_string(norm.scale));
  if (norm.k <= 0) fields.refuse("k", "more than 0", std::to_string(norm.k));
  fields.finish();
  return norm;
}

BlockData block_of(const Json& json) {
  Fields fields("Block", json);
  BlockData block;
  block.filters = fields.needed_integer("filters", 1, kMostWidth);
  block.size = fields.needed_integer("size", 1, kMostFilterSide);
  block.stride = fields.integer("stride", 1, block.size, block.stride);
  block.padding = fields.integer("padding", 0, block.size - 1, block.padding);
  block.groups = fields.integer("groups", 1, kMostWidth, block.groups);
  if (block.filters % block.groups != 0) fields.refuse("filters", "a multiple of groups", std::to_string(block.filters));
  if (const Json* pool = fields.take_or_null("pool")) block.pool = pool_of(*pool);
  if (const Json* norm = fields.take_or_null("norm")) block.norm = norm_of(*norm);
  const size_t order = fields.choice("order", kOrders, 0);
  block.norm_first = order % 2 == 1;
  block.relu_last = order >= 2;
  fields.finish();
  return block;
}

// Reads the members that columns of both kinds have.
void read_common(Fields& fields, ColumnData& column, std::vector<int64_t> fc) {
  column.view = static_cast<View>(fields.choice("view", kViews, static_cast<size_t>(View::warp)));
  column.plane = fields.integer("plane", 1, kMostSide, column.plane);
  column.window = fields.integer("window", 1, kMostSide, column.window);
  if (column.window > column.plane) fields.refuse("window", "no more than plane", std::to_string(column.window));
  column.fc = fields.has("fc") ? fields.integers("fc", kMostFcLayers, 1, kMostWidth) : std::move(fc);
  if (column.fc.empty()) fields.refuse("fc", "at least one layer's size", "none");
  const double dropout = fields.finite("dropout", 0.5);
  if (dropout < 0 || dropout >= 1) fields.refuse("dropout", "from 0 to less than 1", std::to_string(dropout));
  fields.boolean("frozen", false);
}

std::vector<double> mean_of(Fields& fields, int64_t channels) {
  if (!fields.has("mean") && channels == 3) return {0.0, 0.0, 0.0};
  std::vector<double> mean;
  for (const Json* value : fields.list("mean", kMostFcLayers)) {
    if (!value->is_number() || !(std::abs(value->number()) <= kLargestNumber)) fields.refuse("mean", "finite numbers", value->shown());
    mean.push_back(value->number());
  }
  if (static_cast<int64_t>(mean.size()) != channels) {
    fields.refuse("mean", "a value for each of " + std::to_string(channels) + " channels", std::to_string(mean.size()));
  }
  return mean;
}

void measure_blocks(const Fields& fields, ColumnData& column) {
  int64_t extent = column.window, channels = column.channels;
  column.extents = {extent};
  for (const BlockData& block : column.blocks) {
    if (channels % block.groups != 0) fields.refuse("groups", "a divisor of the block's inputs", std::to_string(block.groups));
    extent = window_count(extent + 2 * block.padding, block.size, block.stride, column.round_up);
    if (block.pool && extent > 0) extent = window_count(extent, block.pool->size, block.pool->stride, column.round_up);
    if (extent < 1) fields.refuse("blocks", "small enough for what comes to them", "block " + std::to_string(column.extents.size()));
    channels = block.filters;
    column.extents.push_back(extent);
  }
  column.features = channels * (column.mean_of_maps ? 1 : extent * extent);
}

ColumnData column_of_blocks(const Json& json) {
  Fields fields("Column", json);
  ColumnData column;
  column.channels = fields.integer("channels", 1, kMostChannels, column.channels);
  read_common(fields, column, {1000, 256});
  column.round_up = fields.choice("rounding", {"up", "down"}, 0) == 0;
  column.mean_of_maps = fields.choice("reduce", {"flatten", "mean"}, 0) == 1;
  column.mean = mean_of(fields, column.channels);
  column.scale = fields.finite("scale", column.scale);
  for (const Json* block : fields.list("blocks", kMostBlocks)) column.blocks.push_back(block_of(*block));
  if (column.blocks.empty()) fields.refuse("blocks", "at least one Block", "none");
  measure_blocks(fields, column);
  fields.finish();
  return column;
}

ColumnData column_of_lite(const Json& json) {
  Fields fields("BackboneColumn", json);
  ColumnData column;
  column.plane = column.window = 224;
  fields.need("lite");
  column.lite = lite_stages(fields.choice("lite", lite_names(), 0));
  read_common(fields, column, {64});
  column.stages = fields.integers("stages", kMostFcLayers, 0, static_cast<int64_t>(column.lite.size()) - 1);
  for (size_t i = 0; i < column.stages.size(); ++i) {
    if (i > 0 && column.stages[i] <= column.stages[i - 1]) fields.refuse("stages", "ascending", std::to_string(column.stages[i]));
    column.features += column.lite[static_cast<size_t>(column.stages[i])].back().filters;
  }
  column.features += kLiteHead;
  fields.finish();
  return column;
}

ColumnData column_of(const Json& json) {
  if (!json.is(Json::Kind::object)) throw std::invalid_argument("Column must be a JSON object, got " + json.shown());
  if (json.find("lite") != nullptr) return column_of_lite(json);
  if (json.find("layers") != nullptr) {
    throw Failure(DCNN_UNSUPPORTED, "the model has a column of single layers (GraphColumn), which this library does not run");
  }
  return column_of_blocks(json);
}

std::vector<std::string> names_of(Fields& fields, const char* name, std::vector<std::string> otherwise, size_t least) {
  if (fields.has(name)) otherwise = fields.texts(name, kMostLabels, kMostNameLetters);
  const std::set<std::string> different(otherwise.begin(), otherwise.end());
  if (otherwise.size() < least || otherwise.size() == 1 || different.size() != otherwise.size()) {
    fields.refuse(name, "at least two different names", std::to_string(different.size()));
  }
  return otherwise;
}

}  // namespace

NetworkData network_of(const Json& json) {
  Fields fields("Network", json);
  NetworkData network;
  network.name = fields.text("name", kMostNameLetters);
  if (fields.has("notes")) fields.text("notes", 100 * kMostNameLetters);
  for (const Json* column : fields.list("columns", kMostColumns)) network.columns.push_back(column_of(*column));
  if (network.columns.empty()) fields.refuse("columns", "at least one Column", "none");
  network.labels = names_of(fields, "labels", {"low", "high"}, 2);
  network.attributes = names_of(fields, "attributes", {}, 0);
  if (fields.take_or_null("long_side") != nullptr) network.long_side = fields.needed_integer("long_side", 1, (int64_t{1} << 31) - 1);
  fields.finish();
  require_affordable(network);
  for (const std::string& label : network.labels) {
    if (!is_utf8(label) || label.find('\0') != std::string::npos) {
      throw Failure(DCNN_UNSUPPORTED, "the model has a label whose name is no text in C: it has a zero, or half of a pair of surrogates");
    }
  }
  for (const ColumnData& column : network.columns) {
    if (column.channels != 3) {
      throw Failure(DCNN_UNSUPPORTED, "the model must have columns of 3 channels, red, green and blue, to score photographs");
    }
  }
  return network;
}

}  // namespace dcnn
