// A photograph's digest and its reduced picture for Python; arrays are checked here.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "arrays.h"
#include "bindings.h"
#include "core/summary.h"
#include "cpu_features.h"
#include "passes.h"
#include "plain_arithmetic.h"
#include "run.h"
#ifdef DCNN_X86
#include "summary_x86.h"
#endif

namespace py = pybind11;

namespace dcnn {

namespace {

using Pair = std::pair<int64_t, int64_t>;  // of rows and columns

// An instruction set's functions; nullptr where it has none.
struct Takes {
  TakeStrip strip;
  TakeBlocks blocks;
};

Takes takes_of([[maybe_unused]] const Isa& isa) {
#ifdef DCNN_X86
  if (std::string_view(isa.name) != "portable" && features().avx2 && features().sha_ni) return {take_strip_x86, take_hash_blocks_x86};
#endif
  return {nullptr, nullptr};
}

DecodedPhoto photo_of(const py::array& pixels, int orientation) {
  if (!holds<uint8_t>(pixels) || !contiguous(pixels) || pixels.ndim() != 3 || pixels.shape(2) != 3 || pixels.size() == 0) {
    refuse("pixels", "contiguous uint8 [rows, columns, 3], not empty", described(pixels));
  }
  if (orientation < 1 || orientation > 8) refuse("orientation", "from 1 to 8", std::to_string(orientation));
  return {{static_cast<const uint8_t*>(pixels.data()), pixels.shape(0), pixels.shape(1), 3 * pixels.shape(1)}, orientation};
}

// The SHA-256 of `before` and the upright pixels, and these resized; None for a size that needs all rows at once.
py::tuple summarized(const std::string& isa, const py::array& pixels, int orientation, const py::bytes& before,
                     const std::optional<Pair>& resized) {
  const Isa& chosen = isa_named(isa);
  const Takes takes = takes_of(chosen);
  if (!takes.strip) refuse("the instruction set", "one with AVX2, on a processor with instructions for SHA-256", isa);
  const DecodedPhoto photo = photo_of(pixels, orientation);
  const std::string first = before;
  std::optional<StripResizer> resizer;
  py::object made = py::none();
  uint8_t* to = nullptr;
  if (resized) {
    const auto [rows, cols] = *resized;
    if (rows < 1 || rows > photo.rows() || cols < 1 || cols > photo.cols()) {
      refuse("resized", "from 1 to the photograph's rows and columns", std::to_string(rows) + " and " + std::to_string(cols));
    }
    if (StripResizer::takes(photo.rows(), photo.cols(), rows, cols)) {
      resizer.emplace(photo.rows(), photo.cols(), rows, cols, passes_of(chosen));
      py::array_t<uint8_t> picture({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(cols), py::ssize_t{3}});
      to = picture.mutable_data();
      made = std::move(picture);
    }
  }
  std::array<uint8_t, 32> digest;
  {
    const py::gil_scoped_release unlocked;
    const PlainArithmetic plain;
    Hasher hash(takes.blocks);
    hash.add(reinterpret_cast<const uint8_t*>(first.data()), static_cast<int64_t>(first.size()));
    summarize(photo, takes.strip, hash, resizer ? &*resizer : nullptr);
    digest = hash.finish();
    if (resizer) resizer->finish(to);
  }
  return py::make_tuple(py::bytes(reinterpret_cast<const char*>(digest.data()), digest.size()), made);
}

}  // namespace

void bind_summary(py::module_& m) {
  m.def("summarized", &summarized, "A photograph's digest, and the photograph reduced, in one walk over its pixels.");
}

}  // namespace dcnn
