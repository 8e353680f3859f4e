#include "copies.h"

#include <string_view>

#include "cpu_features.h"
#ifdef DCNN_X86
#include "pixels_avx2.h"
#endif

namespace dcnn {

const CopyRuns& copies_of([[maybe_unused]] const Isa& isa) {
#ifdef DCNN_X86
  if (std::string_view(isa.name) != "portable" && features().avx2) return kAvx2CopyRuns;
#endif
  return kPlainCopyRuns;
}

}  // namespace dcnn
