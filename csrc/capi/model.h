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

// threads: that the call may use. long_side: of the picture before views are made, 0 for the model's own.
struct Scoring {
  Draws draws;
  int64_t long_side;
  int threads;
};

// The samples' probabilities, [views, labels]. enlarged: whether a local view was.
struct Samples {
  std::vector<double> probabilities;
  bool enlarged = false;
};

// Nothing of it changes once it is made.
class Model {
 public:
  Model(const Isa& isa, ModelData data);

  const Isa& isa() const { return *isa_; }
  const std::vector<std::string>& labels() const { return network_.labels; }
  const std::string& caution() const { return caution_; }

  // Throws Failure for a picture that cannot be scored.
  Samples samples(const Picture& photo, const Scoring& scoring) const;

  // How many of a hundred photographs of the reference collection score lower, those that score the same counted half.
  std::optional<double> percentile(double score) const;

  // The label whose probability the mean is, for a model of two.
  std::optional<size_t> high() const;

 private:
  const Isa* isa_;
  NetworkData network_;
  std::vector<double> reference_;
  std::string caution_;
  std::vector<std::unique_ptr<ColumnNet>> columns_;
  std::vector<std::string> keys_;  // of each column's draws
  Layer label_;
};

// What samples say: the mean probability of each label, and of one of them the mean and the standard deviation (of the population).
std::vector<double> means_of(const std::vector<double>& probabilities, size_t labels);
struct Spread {
  double mean, std;
};
Spread spread_of(const std::vector<double>& probabilities, size_t labels, size_t label);

}  // namespace dcnn
