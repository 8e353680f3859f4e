// What a network takes (dcnn_fast/networks/cost.py).
#pragma once

#include "capi/network.h"

namespace dcnn {

// Throws std::invalid_argument where a network is more than any machine should be asked for.
void require_affordable(const NetworkData& network);

}  // namespace dcnn
