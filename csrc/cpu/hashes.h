// SHA-256 with the processor's own instructions, where it has them.
#pragma once

#include "core/sha256.h"

namespace dcnn {

// All choices give the same result.
TakeBlocks hash_blocks();

}  // namespace dcnn
