#include "hashes.h"

#include "cpu_features.h"
#ifdef DCNN_X86
#include "summary_x86.h"
#endif

namespace dcnn {

TakeBlocks hash_blocks() {
#ifdef DCNN_X86
  if (features().avx2 && features().sha_ni) return take_hash_blocks_x86;
#endif
  return take_plain_hash_blocks;
}

}  // namespace dcnn
