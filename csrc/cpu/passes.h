// How an instruction set resamples pictures.
#pragma once

#include "core/resample.h"
#include "kernel.h"

namespace dcnn {

const Passes& passes_of(const Isa& isa);

}  // namespace dcnn
