// Products and updates for Python: the arrays' types select the arithmetic; every extent is checked here.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "core/softmax.h"
#include "memory.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

// numpy has no bfloat16: an int16 holds its bits.
using Bf16Bits = int16_t;

void require_contiguous(const std::string& name, const py::array& array) {
  if (!contiguous(array) || !aligned(array)) refuse(name, "contiguous and aligned", "other strides");
}

template <typename Value>
void require_flat(const std::string& name, const py::array& array, const char* type, const std::vector<int64_t>& shape) {
  require_values<Value>(name, array, type);
  require_shape(name, array, shape);
  require_contiguous(name, array);
}

// x: [rows, inputs] and weight: [outputs, inputs], both float32 or both the bits of bfloat16; bias: [outputs]; y: [rows,
// outputs].
void linear(const std::string& isa, const py::array& x, const py::array& weight, const py::array& bias, const py::array& y, bool relu,
            int threads) {
  require_threads(threads);
  const bool bf16 = holds<Bf16Bits>(x);
  if (!bf16 && !holds<float>(x)) refuse("x", "float32 or the bits of bfloat16 as int16", described(x));
  if (x.ndim() != 2) refuse("x", "[rows, inputs]", described(x));
  if (weight.ndim() != 2) refuse("weight", "[outputs, inputs]", described(weight));
  const int64_t rows = x.shape(0), inputs = x.shape(1), outputs = weight.shape(0);
  require_contiguous("x", x);
  if (bf16) {
    require_flat<Bf16Bits>("weight", weight, "int16, as x", {outputs, inputs});
  } else {
    require_flat<float>("weight", weight, "float32, as x", {outputs, inputs});
  }
  require_flat<float>("bias", bias, "float32", {outputs});
  require_flat<float>("y", y, "float32", {rows, outputs});
  Touched touched;
  for (const auto& [name, array] : {std::pair{"x", &x}, {"weight", &weight}, {"bias", &bias}}) touched.reads(name, *array);
  touched.writes("y", y);
  touched.require_apart();
  const LinearProblem p{x.data(), weight.data(), static_cast<const float*>(bias.data()), written<float>("y", y), rows, inputs,
                        outputs,  relu,          bf16, nullptr};
  const py::gil_scoped_release unlocked;
  const PlainArithmetic plain;
  run_linear(isa_named(isa), p, threads);
}

// logits: float32 [rows, labels]. Returns float64 of the same shape.
py::array_t<double> probabilities(const py::array& logits) {
  require_values<float>("logits", logits, "float32");
  if (logits.ndim() != 2) refuse("logits", "[rows, labels]", described(logits));
  require_contiguous("logits", logits);
  py::array_t<double> found({logits.shape(0), logits.shape(1)});
  double* const to = found.mutable_data();
  const PlainArithmetic plain;
  softmax(static_cast<const float*>(logits.data()), logits.shape(0), logits.shape(1), to);
  return found;
}

// Whether the values fill their memory without gaps, in any order of the axes.
bool dense(const py::array& array) {
  if (contiguous(array)) return true;
  std::vector<int> axes(static_cast<size_t>(array.ndim()));
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(i);
  std::sort(axes.begin(), axes.end(), [&](int a, int b) {
    return array.strides(a) != array.strides(b) ? array.strides(a) > array.strides(b) : array.shape(a) > array.shape(b);
  });
  std::vector<int> longer;
  std::copy_if(axes.begin(), axes.end(), std::back_inserter(longer), [&](int axis) { return array.shape(axis) != 1; });
  return lies_in_order(array, longer);
}

// Whether two arrays of one shape have the same layout, apart from the size of a value.
bool lie_alike(const py::array& a, const py::array& b) {
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    if (a.shape(i) > 1 && a.strides(i) / a.itemsize() != b.strides(i) / b.itemsize()) return false;
  }
  return true;
}

// One of a parameter's three arrays, in the parameter's layout.
template <typename Value>
void* values_of(const std::string& name, const py::array& array, const char* type, const py::array& parameter, bool changed) {
  require_values<Value>(name, array, type);
  require_shape(name, array, {parameter.shape(), parameter.shape() + parameter.ndim()});
  if (!lie_alike(array, parameter)) refuse(name, "laid in memory as its parameter", "other strides");
  return changed ? written<void>(name, array) : const_cast<void*>(array.data());
}

template <typename Value, typename Step>
UpdateRow update_row(size_t i, const py::array& parameter, const py::array& gradient, const py::array& increment, const char* type,
                     const char* step_type) {
  const std::string at = "[" + std::to_string(i) + "]";
  if (!dense(parameter)) refuse("parameters" + at, "without gaps in memory", "other strides");
  return {values_of<Value>("parameters" + at, parameter, type, parameter, true),
          values_of<Value>("gradients" + at, gradient, type, parameter, false),
          values_of<Step>("increments" + at, increment, step_type, parameter, true),
          static_cast<int64_t>(parameter.size()),
          0.0, 0.0, 0.0};
}

UpdateKind kind_of(const py::array& parameter) {
  if (holds<float>(parameter)) return UpdateKind::float32;
  if (holds<double>(parameter)) return UpdateKind::float64;
  if (holds<Bf16Bits>(parameter)) return UpdateKind::bf16_float32;
  refuse("parameters", "float32, float64 or the bits of bfloat16 as int16", described(parameter));
}

using Arrays = std::vector<py::array>;
using Numbers = std::vector<double>;

void update(const Arrays& parameters, const Arrays& gradients, const Arrays& increments, const Numbers& rates, const Numbers& momenta,
            const Numbers& pulls, int threads) {
  require_threads(threads);
  const auto require_count = [&](const char* name, size_t count) {
    if (count != parameters.size()) refuse(name, "one for each of " + std::to_string(parameters.size()) + " parameters", std::to_string(count));
  };
  require_count("gradients", gradients.size());
  require_count("increments", increments.size());
  require_count("rates", rates.size());
  require_count("momenta", momenta.size());
  require_count("pulls", pulls.size());
  if (parameters.empty()) return;
  const UpdateKind kind = kind_of(parameters[0]);
  const auto require_finite = [&](const char* name, const Numbers& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) refuse(name + ("[" + std::to_string(i) + "]"), "finite", std::to_string(values[i]));
    }
  };
  require_finite("rates", rates);
  require_finite("momenta", momenta);
  require_finite("pulls", pulls);
  Touched touched;
  std::vector<UpdateRow> rows;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    touched.writes("parameters", parameters[i], index);
    touched.reads("gradients", gradients[i], index);
    touched.writes("increments", increments[i], index);
    const py::array &parameter = parameters[i], &gradient = gradients[i], &increment = increments[i];
    switch (kind) {
      case UpdateKind::float32:
        rows.push_back(update_row<float, float>(i, parameter, gradient, increment, "float32", "float32"));
        break;
      case UpdateKind::float64:
        rows.push_back(update_row<double, double>(i, parameter, gradient, increment, "float64", "float64"));
        break;
      case UpdateKind::bf16_float32:
        rows.push_back(update_row<Bf16Bits, float>(i, parameter, gradient, increment, "int16", "float32"));
        break;
    }
    rows.back().rate = rates[i];
    rows.back().momentum = momenta[i];
    rows.back().pull = pulls[i];
  }
  touched.require_apart();
  const py::gil_scoped_release unlocked;
  const PlainArithmetic plain;
  run_update(kind, rows, threads);
}

}  // namespace

void bind_products(py::module_& m) {
  m.def("linear", &linear, py::arg("isa"), py::kw_only(), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("y"),
        py::arg("relu"), py::arg("threads"), "y = x * weight^T + bias, in float32 or in products of bfloat16.");
  m.def("softmax", &probabilities, py::arg("logits"), "The probabilities of each row of logits, in float64, the same bits on any machine.");
  m.def("update", &update, py::kw_only(), py::arg("parameters"), py::arg("gradients"), py::arg("increments"), py::arg("rates"),
        py::arg("momenta"), py::arg("pulls"), py::arg("threads"),
        "cuda-convnet's update, in place; pulls: decay * rate of each parameter.");
}

}  // namespace dcnn
