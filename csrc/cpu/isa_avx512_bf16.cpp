// Kernels for AVX-512 with products of bfloat16 pairs; in fp32 the same as isa_avx512.cpp. Compiled with those flags, so
// nothing here may be an inline function shared with other files: no standard library templates, everything in an unnamed
// namespace.

#include "cpu_features.h"

#define DCNN_BF16_PAIRS

#include "vec_avx512.h"

#include "block_impl.h"
#include "backward_impl.h"
#include "linear_impl.h"
#include "mbconv_impl.h"
#include "peak_impl.h"

namespace dcnn {

const Isa& avx512_bf16_isa() {
  static const Isa isa{
      "avx512_bf16",
      [] { return features().avx512f && features().avx512_bf16 ? nullptr : "the processor has no AVX-512 with bfloat16"; },
      kBlock, kBf16, region_scratch, run_region, gradients, mbconv, linear_scratch, run_linear, run_peak};
  return isa;
}

}  // namespace dcnn
