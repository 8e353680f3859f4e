// The instruction sets' functions for turning pictures.
#pragma once

#include "core/pixels.h"
#include "kernel.h"

namespace dcnn {

const CopyRuns& copies_of(const Isa& isa);

}  // namespace dcnn
