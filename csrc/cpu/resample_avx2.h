// The passes of core/resample.h for AVX2.
#pragma once

#include "core/resample.h"

namespace dcnn {

extern const Passes kAvx2Passes;

}  // namespace dcnn
