// The tables' records as numpy dtypes.
#include "core/tables.h"

#include <pybind11/numpy.h>

#include "bindings.h"

namespace dcnn {

void bind_tables(pybind11::module_& m) {
  PYBIND11_NUMPY_DTYPE(RegionRow, source, image, window_top, window_left, window_height, window_width, top, left, rows, cols,
                       lattice_top, lattice_left, first, count);
  PYBIND11_NUMPY_DTYPE(PieceRow, top, left, rows, cols, first, count);
  PYBIND11_NUMPY_DTYPE(StoreRow, skip_top, skip_left, height, width, output, image, out_top, out_left);
  PYBIND11_NUMPY_DTYPE(SourceRow, address, image, row, col, channel);
  PYBIND11_NUMPY_DTYPE(OutputRow, address, rows, cols);
  PYBIND11_NUMPY_DTYPE(TileRow, region, row, col);
  PYBIND11_NUMPY_DTYPE(StripRow, region, row, col, rows, cols, own_rows, own_cols, step);
  PYBIND11_NUMPY_DTYPE(ResultRow, region, piece, row, col);
  PYBIND11_NUMPY_DTYPE(CutRow, address, pitch, channels, height, width, out, out_width, axis_x, axis_y, flip);
  PYBIND11_NUMPY_DTYPE(CutTileRow, cut, col, cols, row, rows, group, first, count);
  PYBIND11_NUMPY_DTYPE(CutChunkRow, col, cols, pixel, words);
  PYBIND11_NUMPY_DTYPE(FilterRow, first, taps, weights, quads);
  pybind11::dict records;  // by their names in dcnn_fast/ops/records.py
  records["REGION"] = pybind11::dtype::of<RegionRow>();
  records["PIECE"] = pybind11::dtype::of<PieceRow>();
  records["STORE"] = pybind11::dtype::of<StoreRow>();
  records["SOURCE"] = pybind11::dtype::of<SourceRow>();
  records["OUTPUT"] = pybind11::dtype::of<OutputRow>();
  records["TILE"] = pybind11::dtype::of<TileRow>();
  records["STRIP"] = pybind11::dtype::of<StripRow>();
  records["RESULT"] = pybind11::dtype::of<ResultRow>();
  records["CUT"] = pybind11::dtype::of<CutRow>();
  records["CUT_TILE"] = pybind11::dtype::of<CutTileRow>();
  records["CUT_CHUNK"] = pybind11::dtype::of<CutChunkRow>();
  records["FILTER"] = pybind11::dtype::of<FilterRow>();
  m.attr("records") = records;
}

}  // namespace dcnn
