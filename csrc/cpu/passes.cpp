#include "passes.h"

#include <string_view>

#include "cpu_features.h"
#ifdef DCNN_X86
#include "resample_avx2.h"
#endif

namespace dcnn {

const Passes& passes_of([[maybe_unused]] const Isa& isa) {
#ifdef DCNN_X86
  if (std::string_view(isa.name) != "portable" && features().avx2) return kAvx2Passes;
#endif
  return kPlainPasses;
}

}  // namespace dcnn
