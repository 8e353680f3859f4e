// A model that scores pictures, as dcnn_fast/scoring does.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "capi/column_net.h"
#include "capi/model_file.h"
#include "capi/photo.h"

namespace dcnn {

// threads: the most that one call may use. long_side: that of the picture before views are made; 0 for the model's own.
struct Scoring {
  Draws draws;
  int64_t long_side;
  int threads;
};

// The samples' probabilities, [views, labels]. enlarged: whether the photograph was enlarged for a local view.
struct Samples {
  std::vector<double> probabilities;
  bool enlarged = false;
};

// Immutable after construction.
class Model {
 public:
  Model(const Isa& isa, ModelData data);

  const Isa& isa() const { return *isa_; }
  const std::vector<std::string>& labels() const { return network_.labels; }
  const std::string& caution() const { return caution_; }

  // Throws Failure for a picture that cannot be scored.
  Samples samples(const Picture& photo, const Scoring& scoring) const;

  // The percentage of the reference collection's photographs with lower scores; equal scores count half.
  std::optional<double> percentile(double score) const;

  // The label whose probability is the mean, for a model with two labels.
  std::optional<size_t> high() const;

 private:
  const Isa* isa_;
  NetworkData network_;
  std::vector<double> reference_;
  std::string caution_;
  std::vector<std::unique_ptr<ColumnNet>> columns_;
  std::vector<std::string> keys_;  // each column's key for its draws
  Layer label_;
};

// Summary of the samples: each label's mean probability; for one label, its mean and population standard deviation.
std::vector<double> means_of(const std::vector<double>& probabilities, size_t labels);
struct Spread {
  double mean, std;
};
Spread spread_of(const std::vector<double>& probabilities, size_t labels, size_t label);

}  // namespace dcnn
