// Turning and recoloring a photograph's pixels for Python; arrays are checked here.
#include <pybind11/numpy.h>

#include <string>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "core/pixels.h"
#include "copies.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

void require_pixels(const std::string& name, const py::array& pixels, py::ssize_t axes) {
  if (!holds<uint8_t>(pixels) || !contiguous(pixels) || pixels.ndim() != axes || pixels.shape(axes - 1) != 3) {
    refuse(name, "contiguous uint8 of " + std::to_string(axes) + " axes, the last one 3", described(pixels));
  }
}

ColorTable table_of(const py::array& table) {
  require_values<uint32_t>("table", table, "uint32");
  require_shape("table", table, {kColors});
  if (!contiguous(table)) refuse("table", "contiguous", described(table));
  return {written<uint32_t>("table", table)};
}

py::array_t<uint8_t> turned(const std::string& isa, const py::array& pixels, int orientation) {
  const CopyRuns& copies = copies_of(isa_named(isa));
  require_pixels("pixels", pixels, 3);
  const int64_t rows = pixels.shape(0), cols = pixels.shape(1);
  const bool on_its_side = orientation >= kOnItsSide;
  py::array_t<uint8_t> made({static_cast<py::ssize_t>(on_its_side ? cols : rows),
                             static_cast<py::ssize_t>(on_its_side ? rows : cols), py::ssize_t{3}});
  uint8_t* to = made.mutable_data();
  const Picture from{static_cast<const uint8_t*>(pixels.data()), rows, cols, 3 * cols};
  const py::gil_scoped_release unlocked;
  turn_pixels(from, orientation, copies, to);
  return made;
}

py::array_t<int64_t> recolored(const py::array& pixels, const py::array& table) {
  require_pixels("pixels", pixels, 2);
  auto* bytes = written<uint8_t>("pixels", pixels);
  const ColorTable colors = table_of(table);
  std::vector<int64_t> lacking;
  {
    const py::gil_scoped_release unlocked;
    lacking = recolor(bytes, pixels.shape(0), colors);
  }
  return py::array_t<int64_t>(static_cast<py::ssize_t>(lacking.size()), lacking.data());
}

void learn(const py::array& pixels, const py::array& places, const py::array& found, const py::array& table) {
  require_pixels("pixels", pixels, 2);
  auto* bytes = written<uint8_t>("pixels", pixels);
  const ColorTable colors = table_of(table);
  require_values<int64_t>("places", places, "int64");
  require_shape("places", places, {static_cast<int64_t>(places.size())});
  if (!contiguous(places)) refuse("places", "contiguous", described(places));
  require_pixels("found", found, 2);
  require_shape("found", found, {static_cast<int64_t>(places.size()), 3});
  const auto* at = static_cast<const int64_t*>(places.data());
  for (py::ssize_t i = 0; i < places.size(); ++i) {
    if (at[i] < 0 || at[i] >= pixels.shape(0)) refuse("places", "among the pixels", std::to_string(at[i]));
  }
  const py::gil_scoped_release unlocked;
  learn_colors(bytes, at, places.size(), static_cast<const uint8_t*>(found.data()), colors);
}

}  // namespace

void bind_pixels(py::module_& m) {
  m.attr("colors") = kColors;
  m.def("turned", &turned, "A photograph as EXIF's orientation says that it is to be looked at.");
  m.def("recolor", &recolored, "Gives pixels the colors that a table has for them; the places of those that it lacks.");
  m.def("learn_colors", &learn, "Gives pixels at these places the colors found, and the table what they were and became.");
}

}  // namespace dcnn
