// A column of a network, ready to be computed: the layers below its last one as dcnn_fast/runtime/column.py has them.
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

// One row for each of the different windows, and which of them each sample's is.
struct WindowRows {
  std::vector<float> values;  // [windows, features]
  std::vector<int64_t> window_of;
};

class ColumnNet {
 public:
  virtual ~ColumnNet() = default;

  // What the last layer gives, for windows of a plane: as many numbers a row as `outputs`.
  WindowRows rows(const Isa& isa, const Picture& plane, const std::vector<Window>& windows, int threads) const;

  const ColumnData& data() const { return data_; }
  int64_t outputs() const { return data_.fc.back(); }

 protected:
  // Takes the fully-connected layers' weights. name: of the column in a model file.
  ColumnNet(ColumnData data, const std::string& name, WeightsByName& weights);

  // What the first fully-connected layer is given.
  virtual WindowRows features(const Isa& isa, const Picture& plane, const std::vector<Window>& windows, int threads) const = 0;

  ColumnData data_;

 private:
  std::vector<Layer> fc_;
};

// The column of that data, made for an instruction set; its weights are taken out of `weights`. Throws std::invalid_argument for a backbone
// whose layers have no weights.
std::unique_ptr<ColumnNet> column_net(const Isa& isa, const ColumnData& data, const std::string& name, WeightsByName& weights);

}  // namespace dcnn
