// Plans for Python: a column's blocks and windows as arrays in, the regions of all blocks out.
#include "core/plan/plan.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "block_spec.h"
#include "column_regions.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

// blocks: rows of block_dtype; windows: [n, 2], (top, left) of each; plane: rows and columns. Returns whether any windows
// share, each window's index among the distinct ones, and the regions of all blocks.
py::tuple plan(const py::array_t<BlockRow, py::array::c_style>& blocks, int64_t channels, int64_t window, bool round_up,
               const py::array_t<int64_t, py::array::c_style>& windows, const std::pair<int64_t, int64_t>& plane, double macs_per_byte,
               bool always) {
  if (!aligned(blocks) || !aligned(windows)) throw py::value_error("plan: blocks and windows must be aligned in memory");
  if (blocks.ndim() != 1) throw py::value_error("plan: blocks must be one row a block");
  if (windows.ndim() != 2 || windows.shape(1) != 2) throw py::value_error("plan: windows must be [n, 2], (top, left) of each");
  const ColumnShape column{channels, window, round_up, {blocks.data(), blocks.data() + blocks.shape(0)}};
  std::vector<Window> places;
  for (py::ssize_t i = 0; i < windows.shape(0); ++i) places.push_back({windows.at(i, 0), windows.at(i, 1)});
  Plan made{};
  {
    const py::gil_scoped_release unlocked;
    const PlainArithmetic plain;
    made = plan_of(column, places, {plane.first, plane.second}, {macs_per_byte, always});
  }
  return py::make_tuple(made.shares, py::array_t<int64_t>(static_cast<py::ssize_t>(made.window_of.size()), made.window_of.data()),
                        HeldRegions{std::make_shared<ColumnRegions>(std::move(made.blocks))});
}

// channels, filters: of one group. Returns side, size and multiply-adds, as in OutputTile of dcnn_fast/ops/block/params.py.
std::tuple<int64_t, int64_t, double> output_tile(const std::string& isa, int64_t size, int64_t stride, int64_t channels,
                                                 int64_t filters, const std::string& precision) {
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // so that no product overflows
  const auto require = [](const char* name, int64_t value, int64_t most) {
    if (value < 1 || value > most) refuse(name, "1 to " + std::to_string(most), std::to_string(value));
  };
  require("size", size, kMost);
  require("stride", stride, size);
  require("channels", channels, kMost);
  require("filters", filters, kMost);
  const OutputTile tile = engine_tile({size, stride, channels, filters}, precision_named(precision), isa_named(isa).bf16);
  return {tile.side, tile.size, tile.macs};
}

}  // namespace

void bind_plan(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(BlockRow, filters, size, stride, padding, groups, pool_size, pool_stride, norm_size, norm_first, tile_side,
                       tile_size, tile_macs);
  m.attr("block_dtype") = py::dtype::of<BlockRow>();
  // noconvert: with repeating strides, a small array could have a copy of any size.
  m.def("plan", &plan, py::arg("blocks").noconvert(), py::arg("channels"), py::arg("window"), py::arg("round_up"), py::arg("windows").noconvert(),
        py::arg("plane"), py::arg("macs_per_byte"), py::arg("always"), "The regions that every block computes for a column's windows.");
  m.def("output_tile", &output_tile, py::arg("isa"), py::kw_only(), py::arg("size"), py::arg("stride"), py::arg("channels"),
        py::arg("filters"), py::arg("precision"), "How an instruction set computes a convolution's outputs: one by one, or in tiles.");
}

}  // namespace dcnn
