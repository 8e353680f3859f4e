// The copies of core/pixels.h for AVX2.
#pragma once

#include "core/pixels.h"

namespace dcnn {

extern const CopyRuns kAvx2CopyRuns;

}  // namespace dcnn
