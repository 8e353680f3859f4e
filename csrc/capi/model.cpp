#include "capi/model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <utility>

#include "capi/status.h"
#include "core/softmax.h"
#include "cpu/passes.h"

namespace dcnn {

namespace {

const char* const kViewNames[] = {"center", "warp", "pad", "local"};  // in the order of View

// The key of each column's draws: its view and its ordinal among columns of that view.
std::vector<std::string> keys_of(const NetworkData& network) {
  std::map<View, int> seen;
  std::vector<std::string> keys;
  for (const ColumnData& column : network.columns) {
    keys.push_back(std::string(kViewNames[static_cast<size_t>(column.view)]) + ":" + std::to_string(seen[column.view]++));
  }
  return keys;
}

// Runs `work` on a picture. status: reported for invalid arguments; what: the prefix of their message.
template <typename Work>
auto made_of_picture(dcnn_status status, const char* what, const Work& work) {
  try {
    return work();
  } catch (const std::invalid_argument& why) {
    throw Failure(status, what + std::string(why.what()));
  }
}

// The planes of a picture, each made once.
class Planes {
 public:
  Planes(const Picture& photo, const Passes& passes) : photo_(photo), passes_(passes) {}

  const Picture& of(const ColumnData& column) {
    const auto key = std::pair{column.view, column.plane};
    auto found = made_.find(key);
    if (found == made_.end()) found = made_.emplace(key, plane(column)).first;
    return found->second.picture();
  }

 private:
  Pixels plane(const ColumnData& column) const {
    return made_of_picture(DCNN_IMAGE, "", [&] { return plane_of(photo_, column.view, column.plane, passes_); });
  }

  const Picture& photo_;
  const Passes& passes_;
  std::map<std::pair<View, int64_t>, Pixels> made_;
};

// Writes one column's rows into columns first ... first + outputs - 1 of joined [views, width].
void join(const WindowRows& rows, int64_t outputs, std::vector<float>& joined, int64_t first, int64_t width) {
  for (size_t i = 0; i < rows.window_of.size(); ++i) {
    const float* from = rows.values.data() + rows.window_of[i] * outputs;
    std::copy(from, from + outputs, joined.begin() + static_cast<int64_t>(i) * width + first);
  }
}

}  // namespace

Model::Model(const Isa& isa, ModelData data)
    : isa_(&isa), network_(std::move(data.network)), reference_(std::move(data.reference)), caution_(std::move(data.caution)),
      keys_(keys_of(network_)) {
  for (size_t i = 0; i < network_.columns.size(); ++i) {
    columns_.push_back(column_net(isa, network_.columns[i], "columns." + std::to_string(i), data.weights));
  }
  label_ = layer_named(data.weights, "label");
}

Samples Model::samples(const Picture& photo, const Scoring& scoring) const {
  const std::string digest = digest_of(photo);
  const Passes& passes = passes_of(*isa_);
  const int64_t long_side = scoring.long_side != 0 ? scoring.long_side : network_.long_side.value_or(std::max(photo.rows, photo.cols));
  const Pixels pixels = made_of_picture(DCNN_IMAGE, "", [&] { return reduced(photo, long_side, passes); });
  Planes planes(pixels.picture(), passes);
  Samples found;
  std::vector<float> joined(static_cast<size_t>(scoring.draws.views * label_.inputs()));
  int64_t first = 0;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const ColumnData& column = columns_[i]->data();
    const Picture& plane = planes.of(column);
    const Extents shape{plane.rows, plane.cols};
    found.enlarged |= column.view == View::local && !(shape == pixels.shape());
    const auto windows = windows_of(digest, keys_[i], scoring.draws, column.view, shape, column.plane, column.window);
    const WindowRows rows = made_of_picture(DCNN_MEMORY, "so many views of so large a picture are more than can be computed at once: ",
                                            [&] { return columns_[i]->rows(*isa_, plane, windows, scoring.threads); });
    join(rows, columns_[i]->outputs(), joined, first, label_.inputs());
    first += columns_[i]->outputs();
  }
  const std::vector<float> logits = label_.of(*isa_, joined, false, scoring.threads);
  found.probabilities.resize(logits.size());
  softmax(logits.data(), scoring.draws.views, label_.outputs(), found.probabilities.data());
  return found;
}

std::optional<double> Model::percentile(double score) const {
  if (reference_.empty()) return std::nullopt;
  const auto [below, above] = std::equal_range(reference_.begin(), reference_.end(), score);
  const auto counted = static_cast<double>((below - reference_.begin()) + (above - reference_.begin()));
  return 50.0 * counted / static_cast<double>(reference_.size());
}

std::optional<size_t> Model::high() const {
  const auto& labels = network_.labels;
  if (labels.size() != 2) return std::nullopt;
  return labels[0] == "high" ? 0 : 1;
}

std::vector<double> means_of(const std::vector<double>& probabilities, size_t labels) {
  std::vector<double> means(labels, 0.0);
  for (size_t i = 0; i < probabilities.size(); ++i) means[i % labels] += probabilities[i];
  for (double& mean : means) mean /= static_cast<double>(probabilities.size() / labels);
  return means;
}

Spread spread_of(const std::vector<double>& probabilities, size_t labels, size_t label) {
  const auto count = static_cast<int64_t>(probabilities.size() / labels);
  const double mean = pairwise_sum(probabilities.data() + label, count, static_cast<int64_t>(labels)) / static_cast<double>(count);
  std::vector<double> squares;
  for (size_t i = label; i < probabilities.size(); i += labels) squares.push_back((probabilities[i] - mean) * (probabilities[i] - mean));
  return {mean, std::sqrt(pairwise_sum(squares.data(), count, 1) / static_cast<double>(count))};
}

}  // namespace dcnn
