// The engine's Python module: its instruction sets and the other files' bindings. No torch headers.

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <pthread.h>

#include <array>
#include <string>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "cpu_features.h"
#include "memory.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace py = pybind11;

namespace {

std::vector<std::string> names_of(const std::vector<const dcnn::Isa*>& isas) {
  std::vector<std::string> names;
  for (const dcnn::Isa* isa : isas) names.emplace_back(isa->name);
  return names;
}

py::dict refusals() {
  py::dict found;
  for (const dcnn::Isa* isa : dcnn::compiled_isas()) {
    if (const char* why = isa->refusal()) found[isa->name] = why;
  }
  return found;
}

#ifdef DCNN_X86
// Adds the product to c. config: uint8 [64]; a, b: uint16 [16, 32]; c: float32 [16, 16].
void emulated_tile_product(const py::array& config, const py::array& a, const py::array& b, const py::array& c) {
  const auto require = [](const char* name, const py::array& array, bool right, const char* rule) {
    if (!right || !dcnn::contiguous(array) || !dcnn::aligned(array)) dcnn::refuse(name, rule, dcnn::described(array));
  };
  require("config", config, dcnn::holds<uint8_t>(config) && config.size() == 64, "64 bytes");
  require("a", a, dcnn::holds<uint16_t>(a) && a.size() == 512, "uint16 [16, 32]");
  require("b", b, dcnn::holds<uint16_t>(b) && b.size() == 512, "uint16 [16, 32]");
  require("c", c, dcnn::holds<float>(c) && c.size() == 256, "float32 [16, 16]");
  dcnn::Touched touched;
  touched.reads("config", config);
  touched.reads("a", a);
  touched.reads("b", b);
  touched.writes("c", c);
  touched.require_apart();
  if (dcnn::emulated_isas().empty()) throw std::invalid_argument("the tile unit in software does not run here");
  dcnn::emulated_tile_product(config.data(), a.data(), b.data(), dcnn::written<float>("c", c));
}
#endif

py::dict features() {
  const dcnn::Features& f = dcnn::features();
  py::dict found;
  found["sse2"] = f.sse2;
  found["avx2"] = f.avx2;
  found["fma"] = f.fma;
  found["f16c"] = f.f16c;
  found["avx512f"] = f.avx512f;
  found["avx512bw"] = f.avx512bw;
  found["avx512vl"] = f.avx512vl;
  found["avx512_bf16"] = f.avx512_bf16;
  found["amx_tile"] = f.amx_tile;
  found["amx_bf16"] = f.amx_bf16;
  found["sha_ni"] = f.sha_ni;
  return found;
}

double peak(const std::string& isa_name, int64_t rounds) {
  if (rounds < 1 || rounds > int64_t{1} << 32) dcnn::refuse("rounds", "1 to 2**32", std::to_string(rounds));
  const py::gil_scoped_release unlocked;
  const dcnn::PlainArithmetic plain;
  std::array<float, 64> sink{};
  return dcnn::isa_named(isa_name).peak(rounds, sink.data());
}

}  // namespace

PYBIND11_MODULE(_engine, m) {
  m.doc() = "The C++ CPU engine of dcnn_fast; dcnn_fast/_engine.pyi has its types.";
  pthread_atfork(&dcnn::before_fork, &dcnn::after_fork, &dcnn::after_fork);
  dcnn::available_isas();  // detects features now: a later detection might be cut short by a fork
  dcnn::emulated_isas();
  dcnn::isa_named("portable");
  m.attr("compiler") = __VERSION__;
  m.attr("sanitized") = DCNN_SANITIZED != 0;
  dcnn::bind_tables(m);
  dcnn::bind_regions(m);
  dcnn::bind_launch(m);
  dcnn::bind_plan(m);
  dcnn::bind_views(m);
  dcnn::bind_pixels(m);
  dcnn::bind_summary(m);
  dcnn::bind_block(m);
  dcnn::bind_column(m);
  dcnn::bind_mbconv(m);
  dcnn::bind_backbone(m);
  dcnn::bind_products(m);
  m.def("isas", [] { return names_of(dcnn::available_isas()); }, "Instruction sets compiled in that run here, best first.");
  m.def("refusals", &refusals, "Why the others don't, by name.");
  m.def("emulated_isas", [] { return names_of(dcnn::emulated_isas()); },
        "Instruction sets that run here in software: for tests, never chosen by themselves.");
#ifdef DCNN_X86
  m.def("emulated_tile_product", &emulated_tile_product, py::arg("config"), py::arg("a"), py::arg("b"), py::arg("c"),
        "One product in the software tile unit, for its own tests.");
#endif
  m.def("features", &features, "What the processor and the operating system offer.");
  m.def("has_bf16", [](const std::string& isa) { return dcnn::isa_named(isa).bf16 != dcnn::Bf16::floats; }, py::arg("isa"),
        "Whether an instruction set multiplies bfloat16.");
  m.def("has_tiles", [](const std::string& isa) { return dcnn::isa_named(isa).bf16 == dcnn::Bf16::tiles; }, py::arg("isa"),
        "Whether it does so in a tile unit.");
  m.def("peak", &peak, py::arg("isa"), py::arg("rounds"),
        "Runs rounds of multiply-adds in registers; returns the operations done, for a benchmark's peak.");
}
