// The tables' records as numpy sees them.
#include "core/tables.h"

#include <pybind11/numpy.h>

#include "bindings.h"

namespace dcnn {

void bind_tables(pybind11::module_& m) {
  PYBIND11_NUMPY_DTYPE(RegionRow, source, image, window_top, window_left, window_height, window_width, top, left, rows, cols,
                       lattice_top, lattice_left, first, count);
  PYBIND11_NUMPY_DTYPE(PieceRow, top, left, rows, cols, first, count);
  PYBIND11_NUMPY_DTYPE(StoreRow, skip_top, skip_left, height, width, output, image, out_top, out_left);
  m.attr("region_dtype") = pybind11::dtype::of<RegionRow>();
  m.attr("piece_dtype") = pybind11::dtype::of<PieceRow>();
  m.attr("store_dtype") = pybind11::dtype::of<StoreRow>();
}

}  // namespace dcnn
