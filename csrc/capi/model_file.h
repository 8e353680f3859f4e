// Model files: safetensors with a JSON header (dcnn_fast/nets/modelfile.py says what they hold).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "capi/bytes.h"
#include "capi/network.h"

namespace dcnn {

// Weights and biases by name, always float32.
using WeightsByName = std::map<std::string, std::vector<float>>;

// reference: the model's scores of a fixed collection, ascending; none where it has none. caution: what must be said of its scores
// wherever they are shown first, or empty.
struct ModelData {
  NetworkData network;
  WeightsByName weights;
  std::vector<double> reference;
  std::string caution;
};

// Nothing is allocated for the tensors before they are known to be exactly the network's. Throws Failure, std::invalid_argument naming
// what is wrong, std::bad_alloc.
ModelData read_model(const Bytes& file);

}  // namespace dcnn
