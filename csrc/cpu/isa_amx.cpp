// Kernels for AMX: bfloat16 products on the tile unit; in fp32 the same as isa_avx512.cpp. Compiled with those flags, so nothing here
// may be an inline function that other files share: no standard library templates, everything in an unnamed namespace.
// isa_amx_emulated.cpp compiles the same kernels for processors without AMX.

#include "cpu_features.h"

#define DCNN_TILES

#include "tile_amx.h"
#include "vec_avx512.h"

#include "block_impl.h"
#include "linear_impl.h"
#include "peak_impl.h"

#include "amx_linear_impl.h"

namespace dcnn {

const Isa& amx_isa() {
  static const Isa isa{"amx", [] { return features().avx512f && features().amx_tile && features().amx_bf16 && tiles_granted(); },
                       kBlock, true, region_scratch, run_region, tile_linear_scratch, tile_run_linear, run_peak, true,
                       tile_rows_floats, tile_pack_rows};
  return isa;
}

}  // namespace dcnn
