// Views for Python: offsets of windows, filters, and cuts of photographs; arrays and sizes are checked here.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "bindings.h"
#include "core/offsets.h"
#include "core/resample.h"
#include "passes.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

using Pair = std::pair<int64_t, int64_t>;  // of rows and columns

constexpr int64_t kMostBytes = int64_t{1} << 47;  // bound of a result: beyond a processor's address space

void require(bool holds, const char* message) {
  if (!holds) throw py::value_error(message);
}

constexpr int64_t kFewSamples = 4096;  // faster than getting the interpreter's lock back from another thread

// key: two 64-bit words, the low one first. Returns [samples, 2] int64, (row, column) each.
py::array_t<int64_t> window_offsets(const std::pair<uint64_t, uint64_t>& key, int64_t samples, const Pair& window, const Pair& crop,
                                    int64_t grid) {
  require(samples >= 1 && samples <= kMostBytes / 16, "window_offsets: the number of samples must be at least 1 and fit memory");
  py::array_t<int64_t> offsets({static_cast<py::ssize_t>(samples), py::ssize_t{2}});
  int64_t* to = offsets.mutable_data();
  std::optional<py::gil_scoped_release> unlocked;
  if (samples > kFewSamples) unlocked.emplace();
  draw_offsets({key.first, key.second}, samples, {window.first, crop.first}, {window.second, crop.second}, grid, to);
  return offsets;
}

// The filter of outputs start ... stop - 1: records FilterRow, and [groups, 4] int32 weights.
py::tuple bilinear(int64_t size, int64_t target, int64_t start, int64_t stop) {
  Filter filter;
  {
    const py::gil_scoped_release unlocked;
    const PlainArithmetic plain;
    filter = bilinear_filter(size, target, start, stop);
  }
  const auto groups = static_cast<py::ssize_t>(filter.weights.size() / 4);
  return py::make_tuple(py::array_t<FilterRow>(static_cast<py::ssize_t>(filter.entries.size()), filter.entries.data()),
                        py::array_t<int32_t>({groups, py::ssize_t{4}}, filter.weights.data()));
}

// The photograph in a contiguous array [rows, columns, 3] of uint8.
Picture picture_of(const py::array& pixels) {
  require(py::isinstance<py::array_t<uint8_t>>(pixels) && pixels.ndim() == 3 && pixels.shape(2) == 3,
          "cut_picture: pixels must be uint8 [rows, columns, 3]");
  require(pixels.size() > 0, "cut_picture: pixels must not be empty");
  require((pixels.flags() & py::array::c_style) != 0, "cut_picture: pixels must be contiguous");
  return {static_cast<const uint8_t*>(pixels.data()), pixels.shape(0), pixels.shape(1), 3 * pixels.shape(1)};
}

// The cut of `extent` rows and columns at `corner` of the photograph resized to `resized`: uint8 [rows, columns, 3].
py::array_t<uint8_t> cut(const std::string& isa, const py::array& pixels, const Pair& resized, const Pair& corner, const Pair& extent) {
  const Picture picture = picture_of(pixels);
  const Passes& passes = passes_of(isa_named(isa));
  const auto [rows, cols] = extent;
  require(rows >= 1 && cols >= 1 && std::max(rows, cols) < int64_t{1} << 31 && rows <= kMostBytes / 3 / cols,
          "cut_picture: the cut must have a row and a column, and fit memory");
  py::array_t<uint8_t> made({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(cols), py::ssize_t{3}});
  uint8_t* to = made.mutable_data();
  const py::gil_scoped_release unlocked;
  const PlainArithmetic plain;
  cut_picture(picture, {resized.first, resized.second, corner.first, corner.second, rows, cols}, passes, to);
  return made;
}

}  // namespace

void bind_views(py::module_& m) {
  m.def("window_offsets", &window_offsets, "Where the windows of samples lie: (row, column) each.");
  m.def("bilinear_filter", &bilinear, "Pillow's antialiased bilinear filter along one axis.");
  m.def("cut_picture", &cut, "A rectangle of a resized photograph, to Pillow's bytes, black outside.");
}

}  // namespace dcnn
