// Model files: safetensors with a JSON header (dcnn_fast/nets/modelfile.py describes the contents).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "capi/bytes.h"
#include "capi/network.h"

namespace dcnn {

// Weights and biases by name, always float32.
using WeightsByName = std::map<std::string, std::vector<float>>;

// reference: the model's scores of a fixed collection, ascending; empty without one. caution: a sentence that must accompany
// the model's scores wherever they are first shown, or empty.
struct ModelData {
  NetworkData network;
  WeightsByName weights;
  std::vector<double> reference;
  std::string caution;
};

// Allocates nothing for the tensors until they are known to match the network exactly. Throws Failure, std::invalid_argument
// naming the fault, or std::bad_alloc.
ModelData read_model(const Bytes& file);

}  // namespace dcnn
