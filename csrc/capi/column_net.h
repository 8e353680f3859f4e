// A column of a network, ready to run: every layer below the label layer, as in dcnn_fast/runtime/column.py.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "capi/layer.h"
#include "capi/model_file.h"
#include "capi/photo.h"
#include "cpu/backbone.h"
#include "cpu/column.h"

namespace dcnn {

// One row for each distinct window, and each sample's row number.
struct WindowRows {
  std::vector<float> values;  // [windows, features]
  std::vector<int64_t> window_of;
};

class ColumnNet {
 public:
  virtual ~ColumnNet() = default;

  // The last layer's results for windows of a plane, `outputs` numbers a row.
  WindowRows rows(const Isa& isa, const Picture& plane, const std::vector<Window>& windows, int threads) const;

  const ColumnData& data() const { return data_; }
  int64_t outputs() const { return data_.fc.back(); }

 protected:
  // Takes the weights of the fully-connected layers. name: the column's name in the model file.
  ColumnNet(ColumnData data, const std::string& name, WeightsByName& weights);

  // The input of the first fully-connected layer.
  virtual WindowRows features(const Isa& isa, const Picture& plane, const std::vector<Window>& windows, int threads) const = 0;

  ColumnData data_;

 private:
  std::vector<Layer> fc_;
};

// Builds the column for an instruction set and removes its weights from `weights`. Throws std::invalid_argument for a backbone
// whose layers have no weights.
std::unique_ptr<ColumnNet> column_net(const Isa& isa, const ColumnData& data, const std::string& name, WeightsByName& weights);

}  // namespace dcnn
