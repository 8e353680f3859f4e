// Tables of regions for Python: the check of their rules, and a column's tables in the engine's own memory.
#include "core/regions.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "column_regions.h"

namespace py = pybind11;

namespace dcnn {

namespace {

RegionGeometry geometry_of(int64_t size, int64_t stride, int64_t padding, const std::string& rounding,
                           const std::pair<int64_t, int64_t>& pool) {
  return {size, stride, padding, rounds_up(rounding), pool.first, pool.second};
}

void check(const py::array& regions, const py::array& pieces, const py::array& stores, const ShapeList& sources,
           const ShapeList& outputs, int64_t size, int64_t stride, int64_t padding, const std::string& rounding,
           const std::pair<int64_t, int64_t>& pool) {
  const RegionTables tables{rows_of<RegionRow>("regions", regions), rows_of<PieceRow>("pieces", pieces),
                            rows_of<StoreRow>("stores", stores)};
  require_regions(tables, geometry_of(size, stride, padding, rounding, pool), shapes_of(sources), shapes_of(outputs));
}

using BlockArrays = std::tuple<py::array, py::array, py::array, ShapeList>;  // regions, pieces, stores, shapes of the outputs

template <typename Row>
std::vector<Row> copy_of(const char* name, const py::array& table) {
  const Rows<Row> rows = rows_of<Row>(name, table);
  return {rows.begin(), rows.end()};
}

HeldRegions held(const std::vector<BlockArrays>& blocks) {
  auto found = std::make_shared<ColumnRegions>();
  for (const auto& [regions, pieces, stores, outputs] : blocks) {
    BlockTables& tables = found->emplace_back();
    tables.regions = copy_of<RegionRow>("regions", regions);
    tables.pieces = copy_of<PieceRow>("pieces", pieces);
    tables.stores = copy_of<StoreRow>("stores", stores);
    for (const auto& [images, rows, cols] : outputs) tables.outputs.push_back({images, rows, cols});
  }
  return {found};
}

// The rows as a matrix, not copied; `owner` keeps them alive.
template <typename Row>
py::array matrix(std::vector<Row>& rows, const py::object& owner) {
  constexpr auto kFields = static_cast<py::ssize_t>(sizeof(Row) / sizeof(int64_t));
  return py::array_t<int64_t>({static_cast<py::ssize_t>(rows.size()), kFields}, reinterpret_cast<int64_t*>(rows.data()), owner);
}

BlockTables& block_of(const HeldRegions& held, size_t block) {
  if (block >= held.blocks->size()) throw py::index_error("no such block");
  return (*held.blocks)[block];
}

ShapeList outputs(const HeldRegions& held, size_t block) {
  ShapeList shapes;
  for (const OutputShape& shape : block_of(held, block).outputs) shapes.emplace_back(shape.images, shape.rows, shape.cols);
  return shapes;
}

py::tuple tables(const py::object& self, size_t block) {
  const auto& held = self.cast<const HeldRegions&>();
  BlockTables& found = block_of(held, block);
  return py::make_tuple(matrix(found.regions, self), matrix(found.pieces, self), matrix(found.stores, self),
                        py::tuple(py::cast(outputs(held, block))));
}

// Checks each block of a column against its geometry; the first block reads the plane (images, rows, columns). Takes
// microseconds: getting the interpreter's lock back from another thread could take longer.
void require_column_regions(const HeldRegions& held, const std::vector<RegionGeometry>& geometries,
                            const std::tuple<int64_t, int64_t, int64_t>& plane) {
  if (held.blocks->size() != geometries.size()) refuse("geometries", "one a block", std::to_string(geometries.size()));
  std::vector<ImagesShape> sources{{std::get<0>(plane), std::get<1>(plane), std::get<2>(plane)}};
  for (size_t i = 0; i < geometries.size(); ++i) {
    const BlockTables& block = (*held.blocks)[i];
    std::vector<ImagesShape> outputs;
    for (const OutputShape& shape : block.outputs) outputs.push_back({shape.images, shape.rows, shape.cols});
    require_regions({rows_in(block.regions), rows_in(block.pieces), rows_in(block.stores)}, geometries[i], sources, outputs);
    sources = std::move(outputs);
  }
}

}  // namespace

void bind_regions(py::module_& m) {
  py::class_<RegionGeometry>(m, "RegionGeometry")
      .def(py::init(&geometry_of), py::kw_only(), py::arg("size"), py::arg("stride"), py::arg("padding"), py::arg("rounding"),
           py::arg("pool"));
  py::class_<HeldRegions>(m, "ColumnRegions")
      .def(py::init(&held), py::arg("blocks"))
      .def("__len__", [](const HeldRegions& self) { return self.blocks->size(); })
      .def("tables", &tables, py::arg("block"))
      .def("outputs", &outputs, py::arg("block"))
      .def("require", &require_column_regions, py::arg("geometries"), py::arg("plane"));
  m.def("require_regions", &check, py::arg("regions"), py::arg("pieces"), py::arg("stores"), py::kw_only(), py::arg("sources"),
        py::arg("outputs"), py::arg("size"), py::arg("stride"), py::arg("padding"), py::arg("rounding"), py::arg("pool"),
        "Raises ValueError naming the first region, piece or store that lies outside what it takes from or goes to.");
}

}  // namespace dcnn
