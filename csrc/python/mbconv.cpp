// The inverted residual block for Python.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "layers.h"
#include "memory.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

std::shared_ptr<PackedMbConv> packed(const std::string& isa_name, int64_t channels, int64_t expanded, int64_t filters, int64_t size,
                                     int64_t stride, bool residual, bool bf16, const std::optional<Layer>& expand,
                                     const Layer& depthwise, const Layer& project) {
  const Isa& isa = isa_named(isa_name);
  const MbConvShape shape{channels, expanded, filters, size, stride, expand.has_value(), residual, bf16};
  const MbConvLayer first = expand ? layer_of("expand", *expand, {expanded, channels}) : MbConvLayer{nullptr, nullptr};
  const MbConvLayer second = layer_of("depthwise", depthwise, {expanded, size, size});
  const MbConvLayer third = layer_of("project", project, {filters, expanded});
  const py::gil_scoped_release unlocked;
  return std::make_shared<PackedMbConv>(isa, shape, first, second, third);
}

// x: [images, channels, height, width], out: [images, filters, out_height, out_width], both in channels_last memory.
void mbconv(const PackedMbConv& block, const py::array& x, const py::array& out, int threads) {
  require_threads(threads);
  require_values<float>("x", x, "float32");
  if (x.ndim() != 4) refuse("x", "[images, channels, height, width]", described(x));
  const int64_t images = x.shape(0), height = x.shape(2), width = x.shape(3);
  require_shape("x", x, {images, block.shape().channels, height, width});
  if (!channels_last(x)) refuse("x", "in channels_last memory", "other strides");
  const MbConvProblem p = block.over(height, width);
  require_values<float>("out", out, "float32");
  require_shape("out", out, {images, block.shape().filters, p.out_height, p.out_width});
  if (!channels_last(out)) refuse("out", "in channels_last memory", "other strides");
  float* const to = written<float>("out", out);
  Touched touched;
  touched.reads("x", x);
  touched.writes("out", out);
  touched.require_apart();
  const py::gil_scoped_release unlocked;
  const PlainArithmetic plain;
  run_mbconv(block, images, height, width, static_cast<const float*>(x.data()), to, threads);
}

}  // namespace

void bind_mbconv(py::module_& m) {
  py::class_<PackedMbConv, std::shared_ptr<PackedMbConv>>(m, "PackedMbConv", "An inverted residual block's weights as an instruction set reads them: a copy.")
      .def(py::init(&packed), py::arg("isa"), py::kw_only(), py::arg("channels"), py::arg("expanded"), py::arg("filters"), py::arg("size"),
           py::arg("stride"), py::arg("residual"), py::arg("bf16"), py::arg("expand"), py::arg("depthwise"), py::arg("project"));
  m.def("mbconv", &mbconv, py::arg("weights"), py::kw_only(), py::arg("x"), py::arg("out"), py::arg("threads"),
        "The inverted residual block over images.");
}

}  // namespace dcnn
