// The instruction sets' functions for resampling pictures.
#pragma once

#include "core/resample.h"
#include "kernel.h"

namespace dcnn {

const Passes& passes_of(const Isa& isa);

}  // namespace dcnn
