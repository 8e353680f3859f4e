// The work of core/summary.h with AVX2 and the processor's instructions for SHA-256.
#pragma once

#include "core/summary.h"

namespace dcnn {

void take_strip_x86(const StripWork& work);

void take_hash_blocks_x86(const HashBlocks& blocks);

}  // namespace dcnn
