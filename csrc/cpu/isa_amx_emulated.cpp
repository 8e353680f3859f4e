// The kernels of isa_amx.cpp on a tile unit in software: for tests on processors without AMX, never selected automatically.
// Compiled with AVX-512's flags, so nothing here may be an inline function shared with other files.

#include "cpu_features.h"

#define DCNN_TILES

#include "tile_emulated.h"
#include "vec_avx512.h"

#include "amx_linear_impl.h"
#include "backward_impl.h"
#include "block_impl.h"
#include "mbconv_impl.h"
#include "peak_impl.h"

namespace dcnn {

const Isa& amx_emulated_isa() {
  static const Isa isa{"amx_emulated", [] { return features().avx512f ? nullptr : "the processor has no AVX-512"; },
                       kBlock, kBf16, region_scratch, run_region, gradients, mbconv, tile_linear_scratch, tile_run_linear, run_peak,
                       tile_rows_floats, tile_pack_rows};
  return isa;
}

void emulated_tile_product(const void* config, const void* a, const void* b, float* c) {
  TileConfig shapes;
  memcpy(&shapes, config, sizeof shapes);
  try {
    tile_configure(shapes);
    tile_load<0>(c, 64);
    tile_load<1>(a, 64);
    tile_load<2>(b, 64);
    tile_dot<0, 1, 2>();
    tile_store<0>(c, 64);
  } catch (...) {
    tile_release();
    throw;
  }
  tile_release();
}

}  // namespace dcnn
