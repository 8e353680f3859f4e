// How the processor hashes.
#pragma once

#include "core/sha256.h"

namespace dcnn {

// All have the same result.
TakeBlocks hash_blocks();

}  // namespace dcnn
