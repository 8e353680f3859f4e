// The processor's fastest hash function.
#pragma once

#include "core/sha256.h"

namespace dcnn {

// All choices give the same result.
TakeBlocks hash_blocks();

}  // namespace dcnn
