// Kernels for AMX: bfloat16 products on the tile unit; in fp32 the same as isa_avx512.cpp. Compiled with those flags, so
// nothing here may be an inline function shared with other files: no standard library templates, everything in an unnamed
// namespace. isa_amx_emulated.cpp compiles the same kernels for processors without AMX.

#include "cpu_features.h"

#define DCNN_TILES

#include "tile_amx.h"
#include "vec_avx512.h"

#include "amx_linear_impl.h"
#include "backward_impl.h"
#include "block_impl.h"
#include "mbconv_impl.h"
#include "peak_impl.h"

namespace dcnn {

namespace {

const char* refusal() {
  const Features& f = features();
  if (!f.avx512f || !f.amx_tile || !f.amx_bf16) return "the processor, or what the operating system saves of it, has no AMX-BF16";
  return tiles_granted() ? nullptr : "the operating system does not let this process use AMX's tile registers";
}

}  // namespace

const Isa& amx_isa() {
  static const Isa isa{"amx", refusal, kBlock, kBf16, region_scratch, run_region, gradients, mbconv, tile_linear_scratch, tile_run_linear, run_peak,
                       tile_rows_floats, tile_pack_rows};
  return isa;
}

}  // namespace dcnn
