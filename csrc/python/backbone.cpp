// A backbone of inverted residual blocks for Python, in one call that releases the interpreter's lock once.
#include "cpu/backbone.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "layers.h"
#include "operands.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

using Blocks = std::vector<std::shared_ptr<PackedMbConv>>;

void require_axes(const char* name, const py::array& array, py::ssize_t axes) {
  if (array.ndim() != axes || array.size() == 0) refuse(name, "of " + std::to_string(axes) + " axes, none of them empty", described(array));
}

std::shared_ptr<Backbone> backbone(const std::string& isa_name, const Layer& stem, int64_t stride, std::vector<float> mean, float scale,
                                   const Blocks& blocks, const Layer& head, std::vector<int64_t> taps, bool bf16) {
  const Isa& isa = isa_named(isa_name);
  require_axes("stem weight", stem.first, 4);
  require_axes("head weight", head.first, 2);
  const int64_t filters = stem.first.shape(0), channels = stem.first.shape(1), size = stem.first.shape(2);
  if (stride < 1 || stride > size) refuse("stride", "1 to the stem's size " + std::to_string(size), std::to_string(stride));
  if (static_cast<int64_t>(mean.size()) != channels) refuse("mean", "a value for each channel", std::to_string(mean.size()));
  for (const auto& block : blocks) {
    if (block == nullptr) refuse("blocks", "PackedMbConv each", "None");
  }
  const int64_t inputs = blocks.empty() ? 1 : blocks.back()->shape().filters, outputs = head.first.shape(0);
  const MbConvLayer first = layer_of("stem", stem, {filters, channels, size, size});
  const MbConvLayer last = layer_of("head", head, {outputs, inputs});
  return std::make_shared<Backbone>(isa, Stem{channels, filters, size, stride, std::move(mean), scale}, first, blocks, outputs, last,
                                    std::move(taps), bf16);
}

// x: [images, channels, rows, cols], bytes or float32, any strides. Returns [images, features].
py::array_t<float> features(const Backbone& net, const py::array& x, int threads) {
  require_threads(threads);
  if (x.ndim() != 4) refuse("x", "[images, channels, rows, cols]", described(x));
  const ImagesShape shape{x.shape(0), x.shape(2), x.shape(3)};
  const Source source = source_of("x", x, shape, net.channels());
  require_extents(net, shape.rows, shape.cols);
  py::array_t<float> out({shape.images, net.features()});
  float* const to = out.mutable_data();
  const py::gil_scoped_release unlocked;
  run_backbone(net, source, shape.images, shape.rows, shape.cols, to, threads);
  return out;
}

}  // namespace

void bind_backbone(py::module_& m) {
  py::class_<Backbone, std::shared_ptr<Backbone>>(m, "Backbone", "EfficientNet-Lite's layers as an instruction set reads them: a copy.")
      .def(py::init(&backbone), py::arg("isa"), py::kw_only(), py::arg("stem"), py::arg("stride"), py::arg("mean"), py::arg("scale"),
           py::arg("blocks"), py::arg("head"), py::arg("taps"), py::arg("bf16"))
      .def("features", &features, py::arg("x"), py::kw_only(), py::arg("threads"));
}

}  // namespace dcnn
