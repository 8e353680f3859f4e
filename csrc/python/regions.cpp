// Tables of regions for Python: the rules they keep.
#include "core/regions.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "arrays.h"
#include "bindings.h"

namespace py = pybind11;

namespace dcnn {

namespace {

void check(const py::array& regions, const py::array& pieces, const py::array& stores, const ShapeList& sources,
           const ShapeList& outputs, int64_t size, int64_t stride, int64_t padding, const std::string& rounding,
           const std::pair<int64_t, int64_t>& pool) {
  const RegionTables tables{rows_of<RegionRow>("regions", regions), rows_of<PieceRow>("pieces", pieces),
                            rows_of<StoreRow>("stores", stores)};
  const RegionGeometry geometry{size, stride, padding, rounds_up(rounding), pool.first, pool.second};
  require_regions(tables, geometry, shapes_of(sources), shapes_of(outputs));
}

}  // namespace

void bind_regions(py::module_& m) {
  m.def("require_regions", &check, py::arg("regions"), py::arg("pieces"), py::arg("stores"), py::kw_only(), py::arg("sources"),
        py::arg("outputs"), py::arg("size"), py::arg("stride"), py::arg("padding"), py::arg("rounding"), py::arg("pool"),
        "Raises ValueError naming the first region, piece or store that lies outside what it takes from or goes to.");
}

}  // namespace dcnn
