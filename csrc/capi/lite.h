// EfficientNet-Lite's layers (dcnn_fast/networks/efficientnet.py).
#pragma once

#include <string>
#include <vector>

#include "capi/network.h"

namespace dcnn {

const std::vector<std::string>& lite_names();

// The blocks between stem and head. variant: the index of its name.
LiteStages lite_stages(size_t variant);

// The shape of every layer's weight and bias, in order, batch norms folded in.
std::vector<TensorShape> lite_tensors(const LiteStages& stages, const std::string& prefix);

}  // namespace dcnn
