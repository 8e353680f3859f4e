// The cost of a network (dcnn_fast/networks/cost.py).
#pragma once

#include "capi/network.h"

namespace dcnn {

// Throws std::invalid_argument for a network that is too expensive for any machine.
void require_affordable(const NetworkData& network);

}  // namespace dcnn
