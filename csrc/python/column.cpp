// A column's blocks for Python, in one call that releases the interpreter's lock once.
#include "cpu/column.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "column_regions.h"
#include "operands.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

using OptionalArrays = std::vector<std::optional<py::array>>;

void require_count(const char* name, size_t got, size_t wanted) {
  if (got != wanted) refuse(name, "one for each of " + std::to_string(wanted) + " blocks", std::to_string(got));
}

std::vector<ColumnBlock> column_of(const Isa& isa, const std::vector<BlockSpec>& blocks, const std::vector<py::array>& weights,
                                   const OptionalArrays& biases) {
  require_count("weights", weights.size(), blocks.size());
  require_count("biases", biases.size(), blocks.size());
  std::vector<ColumnBlock> column;
  for (size_t i = 0; i < blocks.size(); ++i) {
    require_precision(isa, blocks[i]);
    const Weights laid = weights_of(blocks[i], weights[i], biases[i], "blocks[" + std::to_string(i) + "]: ");
    column.push_back({with_mean(blocks[i]), laid});  // a mean takes no more memory than right weights
  }
  return column;
}

py::array_t<float> column(const std::string& isa_name, const std::vector<BlockSpec>& blocks, const HeldRegions& regions,
                          const std::vector<py::array>& weights, const OptionalArrays& biases, const py::array& plane, int threads) {
  require_threads(threads);
  const Isa& isa = isa_named(isa_name);
  const std::vector<ColumnBlock> column = column_of(isa, blocks, weights, biases);
  if (plane.ndim() != 4) refuse("plane", "[images, channels, rows, cols]", described(plane));
  require_column_of(column, *regions.blocks, plane.shape(1));
  const ImagesShape extents{plane.shape(0), plane.shape(2), plane.shape(3)};
  const Source source = source_of("plane", plane, extents, plane.shape(1));
  const OutputShape& last = regions.blocks->back().outputs.front();
  py::array_t<float> out({last.images, blocks.back().filters, last.rows, last.cols});
  float* to = out.mutable_data();
  const py::gil_scoped_release unlocked;
  run_column(isa, column, *regions.blocks, source, extents, to, threads);
  return out;
}

}  // namespace

void bind_column(py::module_& m) {
  m.def("column", &column, py::arg("isa"), py::arg("blocks"), py::arg("regions"), py::kw_only(), py::arg("weights"),
        py::arg("biases"), py::arg("plane"), py::arg("threads"),
        "A column's blocks over a plan's regions, on its own memory between them: the last block's output 0.");
}

}  // namespace dcnn
