// Tables of GPU launches for Python: tiles and strips of regions, and all tables of a column in one pass.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.h"
#include "column_regions.h"
#include "core/launch/column.h"

namespace py = pybind11;

namespace dcnn {

namespace {

constexpr int64_t kMostOutputs = int64_t{1} << 16;  // per step; a thread block has no registers for more

using Matrix = py::array_t<int64_t, py::array::c_style>;

// The rows of a table in a matrix [n, fields], not copied.
template <typename Row>
std::pair<const Row*, size_t> rows_in(const Matrix& table, const char* name) {
  constexpr auto kFields = static_cast<py::ssize_t>(sizeof(Row) / sizeof(int64_t));
  if (table.ndim() != 2 || table.shape(1) != kFields) {
    throw py::value_error("the table of " + std::string(name) + " must be int64 [n, " + std::to_string(kFields) + "]");
  }
  return {reinterpret_cast<const Row*>(table.data()), static_cast<size_t>(table.shape(0))};
}

template <typename Row>
Matrix matrix_of(const std::vector<Row>& rows) {
  constexpr auto kFields = static_cast<py::ssize_t>(sizeof(Row) / sizeof(int64_t));
  Matrix found({static_cast<py::ssize_t>(rows.size()), kFields});
  std::copy(rows.begin(), rows.end(), reinterpret_cast<Row*>(found.mutable_data()));
  return found;
}

void require_positive(const char* what, std::initializer_list<std::pair<const char*, int64_t>> values) {
  for (const auto& [name, value] : values) {
    if (value < 1 || value >= (int64_t{1} << 31)) {
      throw py::value_error(std::string(what) + ": " + name + " must be from 1 to 2**31 - 1, got " + std::to_string(value));
    }
  }
}

// Limits the regions' extents, singly and in total, so that cutting is fast. strips: whether regions are cut into strips, for
// which every number of strips beside each other is tried.
void require_extents(const RegionRow* regions, size_t count, bool strips) {
  const int64_t longest = int64_t{1} << (strips ? 17 : 24);
  constexpr int64_t kMost = int64_t{1} << 28, kMostTried = int64_t{1} << 36;
  int64_t sum = 0, tried = 0;
  for (size_t i = 0; i < count; ++i) {
    const RegionRow& r = regions[i];
    const bool small = r.rows >= 0 && r.cols >= 0 && r.rows <= longest && r.cols <= longest;
    if (small) {
      sum += r.rows + r.cols;
      tried += strips ? r.cols * r.cols : 0;
    }
    if (!small || sum > kMost || tried > kMostTried) {
      throw py::value_error("tables: region " + std::to_string(i) + " is too large, or has no extents");
    }
  }
}

// Checks that the pieces that regions name exist, and that their pool windows start inside their regions.
void require_pieces(const RegionRow* regions, size_t count, const PieceRow* pieces, size_t piece_count, int64_t stride) {
  const auto last = static_cast<int64_t>(piece_count);
  for (size_t i = 0; i < count; ++i) {
    const RegionRow& r = regions[i];
    bool inside = r.first >= 0 && r.count >= 0 && r.first <= last && r.count <= last - r.first;
    for (int64_t k = r.first; inside && k < r.first + r.count; ++k) {
      const PieceRow& p = pieces[k];
      inside = p.top >= 0 && p.left >= 0 && p.rows >= 0 && p.cols >= 0 && p.top <= r.rows && p.left <= r.cols &&
               p.rows <= r.rows && p.cols <= r.cols && (p.rows == 0 || p.top + (p.rows - 1) * stride < r.rows) &&
               (p.cols == 0 || p.left + (p.cols - 1) * stride < r.cols);
    }
    if (!inside) throw py::value_error("tables: region " + std::to_string(i) + " has pieces that are not there or lie outside it");
  }
}

TileShape tile_shape(int64_t height, int64_t width, bool flat) {
  require_positive("tiles", {{"height", height}, {"width", width}});
  return {height, width, flat};
}

std::shared_ptr<StripCutter> strip_cutter(int64_t outputs, int64_t ring, int64_t plane, int64_t fetched, int64_t span, int64_t steps, int64_t size,
                       int64_t stride, int64_t pool_size, int64_t pool_stride, int64_t most_rows, int64_t most_cols) {
  require_positive("strips", {{"outputs", outputs}, {"ring", ring}, {"plane", plane}, {"fetched", fetched}, {"span", span},
                              {"steps", steps}, {"size", size}, {"stride", stride}, {"pool_size", pool_size},
                              {"pool_stride", pool_stride}, {"most_rows", most_rows}, {"most_cols", most_cols}});
  if (outputs > kMostOutputs) throw py::value_error("strips: outputs must be at most 2**16");
  return std::make_shared<StripCutter>(
      StripShape{outputs, ring, plane, fetched, span, steps, size, stride, pool_size, pool_stride, most_rows, most_cols});
}

Matrix tiles(const Matrix& regions, const TileShape& shape) {
  const auto [rows, count] = rows_in<RegionRow>(regions, "regions");
  require_extents(rows, count, false);
  std::vector<TileRow> found;
  {
    const py::gil_scoped_release unlocked;
    found = tiles_of(rows, count, shape);
  }
  return matrix_of(found);
}

Matrix strips(const Matrix& regions, const Matrix& pieces, const StripCutter& cutter, int64_t blocks) {
  const auto [rows, count] = rows_in<RegionRow>(regions, "regions");
  const auto [piece_rows, piece_count] = rows_in<PieceRow>(pieces, "pieces");
  require_positive("strips", {{"blocks", blocks}});
  require_extents(rows, count, true);
  require_pieces(rows, count, piece_rows, piece_count, cutter.shape().pool_stride);
  std::vector<StripRow> found;
  {
    const py::gil_scoped_release unlocked;
    found = cutter.strips_of(rows, count, piece_rows, blocks);
  }
  return matrix_of(found);
}

BlockShape with_tiles(const TileShape& shape, int64_t filters, int64_t item) {
  require_positive("tiles", {{"filters", filters}, {"item", item}});
  return {nullptr, shape, 0, filters, item};
}

BlockShape with_strips(const std::shared_ptr<StripCutter>& cutter, int64_t programs, int64_t filters, int64_t item) {
  require_positive("strips", {{"programs", programs}, {"filters", filters}, {"item", item}});
  return {cutter, {}, programs, filters, item};
}

// Lays out a column's regions as tables. Holds the interpreter's lock throughout: another thread may change the regions, which
// are arrays to it, or lay out others here.
class HeldTables {
 public:
  HeldTables(const std::vector<BlockShape>& blocks, bool again) : shapes_(blocks), tables_(blocks, again) {}

  // source: the address, and the strides of image, row, column and channel.
  py::tuple lay(const HeldRegions& regions, const std::array<int64_t, 5>& source) {
    laid_ = false;
    // Copied, so that `write` writes exactly the checked values: other threads may change the arrays before it is called.
    const auto own = std::make_shared<const ColumnRegions>(*regions.blocks);
    for (size_t i = 0; i < own->size(); ++i) {
      const BlockTables& r = (*own)[i];
      const bool strips = i < shapes_.size() && shapes_[i].strips != nullptr;
      require_extents(r.regions.data(), r.regions.size(), strips);
      if (strips) {
        require_pieces(r.regions.data(), r.regions.size(), r.pieces.data(), r.pieces.size(), shapes_[i].strips->shape().pool_stride);
      }
    }
    const Layout layout = tables_.lay(own, {source[0], source[1], source[2], source[3], source[4]});
    bytes_ = layout.tables;
    laid_ = true;
    return py::make_tuple(layout.tables, layout.maps, layout.last, layout.programs, layout.moved);
  }

  void write(py::array_t<uint8_t, py::array::c_style>& to, int64_t maps, int64_t last) const {
    if (!laid_) throw py::value_error("tables: nothing has been laid out");
    if (to.size() < bytes_) throw py::value_error("tables: the memory that they are to be written to is too small");
    char* memory = reinterpret_cast<char*>(to.mutable_data());
    tables_.write(memory, maps, last);  // a few KB: getting the interpreter's lock back could take longer
  }

  std::vector<std::pair<int64_t, int64_t>> places(size_t block) const {
    std::vector<std::pair<int64_t, int64_t>> found;
    if (block >= shapes_.size()) throw py::index_error("no such block");
    for (const Place& place : tables_.places(block)) found.emplace_back(place.first, place.bytes);
    return found;
  }

 private:
  std::vector<BlockShape> shapes_;
  ColumnTables tables_;
  int64_t bytes_ = 0;
  bool laid_ = false;
};

}  // namespace

void bind_launch(py::module_& m) {
  using namespace pybind11::literals;
  py::class_<TileShape>(m, "TileShape").def(py::init(&tile_shape), py::kw_only(), "height"_a, "width"_a, "flat"_a);
  py::class_<StripCutter, std::shared_ptr<StripCutter>>(m, "StripCutter")
      .def(py::init(&strip_cutter), py::kw_only(), "outputs"_a, "ring"_a, "plane"_a, "fetched"_a, "span"_a, "steps"_a, "size"_a,
           "stride"_a, "pool_size"_a, "pool_stride"_a, "most_rows"_a, "most_cols"_a)
      .def("rows_of", [](const StripCutter& cutter, int64_t cols) {
        require_positive("strips", {{"cols", cols}});
        return cutter.rows_of(cols);
      }, "The most rows of a step in a strip of so many columns, 0 where none fits.");
  py::class_<BlockShape>(m, "BlockShape")
      .def_static("tiles", &with_tiles, "shape"_a, py::kw_only(), "filters"_a, "item"_a)
      .def_static("strips", &with_strips, ("cutter"_a).none(false), py::kw_only(), "programs"_a, "filters"_a, "item"_a);
  py::class_<HeldTables>(m, "ColumnTables")
      .def(py::init<const std::vector<BlockShape>&, bool>(), "blocks"_a, "again"_a)
      .def("lay", &HeldTables::lay, "regions"_a, "source"_a)
      .def("write", &HeldTables::write, py::arg("to").noconvert(), "maps"_a, "last"_a)
      .def("places", &HeldTables::places, "block"_a);
  m.def("patch_units", [](int64_t size, int64_t stride, int64_t span, int64_t steps, int64_t cols, int64_t rows) {
        require_positive("strips", {{"size", size}, {"stride", stride}, {"span", span}, {"steps", steps}, {"cols", cols}, {"rows", rows}});
        const StripShape shape{0, 0, 0, 0, span, steps, size, stride, 0, 0, 0, 0};
        return py::make_tuple(plane_units(shape, cols, rows), fetched_units(shape, cols, rows));
      }, py::kw_only(), "size"_a, "stride"_a, "span"_a, "steps"_a, "cols"_a, "rows"_a,
      "16-byte units of a plane of the patch that a step's outputs see, and of all that is fetched for it.");
  m.def("tiles", &tiles, "regions"_a, "shape"_a, "The tiles that cover all regions, for Triton's programs.");
  m.def("strips", &strips, "regions"_a, "pieces"_a, "cutter"_a, "blocks"_a, "The strips that cover all regions, for CUDA C++.");
}

}  // namespace dcnn
