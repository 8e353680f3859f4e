// Python bindings: raw pointers and sizes, checked by the caller (dcnn_fast/ops/*/cpu.py). No torch headers.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <pthread.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.h"
#include "cpu_features.h"
#include "pack.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace py = pybind11;
using dcnn::BlockProblem;

namespace {

template <typename T>
T* pointer(uint64_t address) {
  return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

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
// All addresses: 64 bytes of configuration, and tiles C (in and out), A and B with rows 64 bytes apart.
void emulated_tile_product(uint64_t config, uint64_t a, uint64_t b, uint64_t c) {
  dcnn::emulated_tile_product(pointer<const void>(config), pointer<const void>(a), pointer<const void>(b), pointer<float>(c));
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
  return found;
}

// sizes: channels, filters, size, stride, groups, pool size, pool stride.
void set_sizes(BlockProblem& p, const std::array<int64_t, 7>& sizes) {
  p.channels = sizes[0];
  p.filters = sizes[1];
  p.size = sizes[2];
  p.stride = sizes[3];
  p.groups = sizes[4];
  p.pool_size = sizes[5];
  p.pool_stride = sizes[6];
}

void set_norm(BlockProblem& p, int norm, int64_t size, float scale, float power, float k, bool first) {
  p.norm = static_cast<dcnn::Norm>(norm);
  p.norm_size = size;
  p.norm_scale = scale;
  p.norm_power = power;
  p.norm_k = k;
  p.norm_first = first;
}

// sources: (address, is bytes, image, channel, row and column stride); regions, pieces, stores: int64 tables of
// dcnn_fast/ops/region.py; weight: [filters, channels / groups, size, size] or, channels_last, [filters, size, size, channels / groups]; outputs: (address, images, height, width); norm: (kind, size, scale per term, power, k);
// hits, values: where to keep what a backward wants to know, or 0.
void block_regions(const std::string& isa_name, const std::vector<std::array<int64_t, 6>>& sources, uint64_t regions,
                   int64_t count, uint64_t pieces, uint64_t stores, const std::vector<std::array<int64_t, 4>>& outputs, uint64_t weight,
                   uint64_t bias, bool channels_last, const std::array<int64_t, 7>& sizes, int norm, int64_t norm_size, float norm_scale,
                   float norm_power, float norm_k, bool norm_first, int precision, const std::vector<float>& mean,
                   float scale, uint64_t hits, uint64_t values, int threads) {
  const py::gil_scoped_release unlocked;
  const dcnn::PlainArithmetic plain;
  const dcnn::Isa& isa = dcnn::isa_named(isa_name);
  std::vector<dcnn::Source> from;
  for (const auto& s : sources) {
    from.push_back({pointer<const void>(static_cast<uint64_t>(s[0])), s[1] != 0, s[3], s[4], s[5], s[2]});
  }
  std::vector<dcnn::Output> to;
  for (const auto& o : outputs) to.push_back({pointer<float>(static_cast<uint64_t>(o[0])), o[1], o[2], o[3]});
  BlockProblem p{};
  p.sources = from.data();
  p.pieces = pointer<const dcnn::PieceRow>(pieces);
  p.stores = pointer<const dcnn::StoreRow>(stores);
  p.outputs = to.data();
  p.mean = mean.data();
  p.scale = scale;
  set_sizes(p, sizes);
  set_norm(p, norm, norm_size, norm_scale, norm_power, norm_k, norm_first);
  p.precision = static_cast<dcnn::Precision>(precision);
  p.hits = pointer<uint16_t>(hits);
  p.values = pointer<float>(values);
  p.taps_only = p.hits != nullptr;
  const auto packed = dcnn::packed_weights(isa, p, {pointer<const float>(weight), pointer<const float>(bias), channels_last});
  p.weight = packed->weight.data();
  p.bias = packed->bias.data();
  dcnn::run_block(isa, p, pointer<const dcnn::RegionRow>(regions), count, threads);
}

// source: as in block_regions; extents: images, height, width, padding, conv rows and columns, result's rows and columns; kept: the
// addresses of the result's gradient, of values and of hits; grads: those of the gradients of x, weight and bias, 0 where not wanted.
// input_weight: what GradientProblem::input multiplies, [groups * stride * stride * channels, filters / groups, taps, taps].
void block_gradients(const std::string& isa_name, const std::array<int64_t, 6>& source, const std::array<int64_t, 8>& extents,
                     const std::array<int64_t, 7>& sizes, int norm, int64_t norm_size, float norm_scale, float norm_power,
                     float norm_k, bool norm_first, int precision, bool first, bool again, const std::vector<float>& mean, float scale,
                     uint64_t weight, uint64_t bias, uint64_t input_weight, const std::array<uint64_t, 3>& kept,
                     const std::array<uint64_t, 3>& grads, int threads) {
  const py::gil_scoped_release unlocked;
  const dcnn::PlainArithmetic plain;
  const dcnn::Isa& isa = dcnn::isa_named(isa_name);
  const dcnn::Source from{pointer<const void>(static_cast<uint64_t>(source[0])), source[1] != 0, source[3], source[4], source[5],
                          source[2]};
  dcnn::GradientProblem q{};
  BlockProblem& p = q.block;
  p.sources = &from;
  p.mean = mean.data();
  p.scale = scale;
  set_sizes(p, sizes);
  set_norm(p, norm, norm_size, norm_scale, norm_power, norm_k, norm_first);
  p.precision = static_cast<dcnn::Precision>(precision);
  p.taps_only = true;
  q.images = extents[0];
  q.height = extents[1];
  q.width = extents[2];
  q.padding = extents[3];
  q.conv_rows = extents[4];
  q.conv_cols = extents[5];
  q.out_rows = extents[6];
  q.out_cols = extents[7];
  q.first = first;
  q.again = again;
  q.grad = pointer<const float>(kept[0]);
  q.values = pointer<const float>(kept[1]);
  q.hits = pointer<const uint16_t>(kept[2]);
  q.grad_x = pointer<float>(grads[0]);
  q.grad_weight = pointer<float>(grads[1]);
  q.grad_bias = pointer<float>(grads[2]);
  std::shared_ptr<const dcnn::Packed> packed, input_packed;
  if (again) {
    packed = dcnn::packed_weights(isa, p, {pointer<const float>(weight), pointer<const float>(bias), false});
    p.weight = packed->weight.data();
    p.bias = packed->bias.data();
  }
  const std::vector<float> zeros(static_cast<size_t>(p.filters), 0.0f);
  BlockProblem input{};
  if (q.grad_x != nullptr) {
    set_sizes(input, {p.filters, p.channels * p.stride * p.stride, (p.size + p.stride - 1) / p.stride, 1, p.groups, 1, 1});
    input.mean = zeros.data();
    input.scale = 1.0f;
    input.linear = true;
    input_packed = dcnn::packed_weights(isa, input, {pointer<const float>(input_weight), nullptr, false});
    input.weight = input_packed->weight.data();
    input.bias = input_packed->bias.data();
    q.input = &input;
  }
  dcnn::run_gradients(isa, q, threads);
}

void linear(const std::string& isa_name, uint64_t x, uint64_t weight, uint64_t bias, uint64_t y, int64_t rows,
            int64_t inputs, int64_t outputs, bool relu, bool bf16, int threads) {
  const py::gil_scoped_release unlocked;
  const dcnn::PlainArithmetic plain;
  const dcnn::LinearProblem p{pointer<const void>(x), pointer<const void>(weight), pointer<const float>(bias),
                              pointer<float>(y),      rows, inputs, outputs, relu, bf16, nullptr};
  dcnn::run_linear(dcnn::isa_named(isa_name), p, threads);
}

// rows: the addresses of parameter, gradient and increment, their number of values, rate, momentum, decay * rate.
void update(const std::vector<std::tuple<uint64_t, uint64_t, uint64_t, int64_t, double, double, double>>& rows, int kind, int threads) {
  const py::gil_scoped_release unlocked;
  const dcnn::PlainArithmetic plain;
  std::vector<dcnn::UpdateRow> found;
  for (const auto& [weight, gradient, increment, count, rate, momentum, pull] : rows) {
    found.push_back({pointer<void>(weight), pointer<const void>(gradient), pointer<void>(increment), count, rate, momentum, pull});
  }
  dcnn::run_update(static_cast<dcnn::UpdateKind>(kind), found, threads);
}

double peak(const std::string& isa_name, int64_t rounds) {
  const py::gil_scoped_release unlocked;
  const dcnn::PlainArithmetic plain;
  std::array<float, 64> sink{};
  return dcnn::isa_named(isa_name).peak(rounds, sink.data());
}

}  // namespace

PYBIND11_MODULE(_engine, m) {
  m.doc() = "The C++ CPU engine of dcnn_fast.";
  pthread_atfork(&dcnn::before_fork, &dcnn::after_fork, &dcnn::after_fork);
  dcnn::available_isas();  // what is found out once is found out now: a fork meanwhile would leave it unfinished in the child
  dcnn::emulated_isas();
  m.attr("compiler") = __VERSION__;
  dcnn::bind_tables(m);
  dcnn::bind_launch(m);
  dcnn::bind_regions(m);
  dcnn::bind_plan(m);
  dcnn::bind_views(m);
  m.def("isas", [] { return names_of(dcnn::available_isas()); }, "Instruction sets compiled in that run here, best first.");
  m.def("refusals", &refusals, "Why the others don't, by name.");
  m.def("emulated_isas", [] { return names_of(dcnn::emulated_isas()); },
        "Instruction sets that run here in software: for tests, never chosen by themselves.");
#ifdef DCNN_X86
  m.def("emulated_tile_product", &emulated_tile_product, "One product in the software tile unit, for its own tests.");
#endif
  m.def("features", &features, "What the processor and the operating system offer.");
  m.def("block_regions", &block_regions, "The fused block over regions.");
  m.def("block_gradients", &block_gradients, "The gradients of the fused block over whole images.");
  m.def("linear", &linear, "y = x * weight^T + bias.");
  m.def("update", &update, "cuda-convnet's update, in place.");
  m.def("has_bf16", [](const std::string& isa) { return dcnn::isa_named(isa).bf16 != dcnn::Bf16::floats; },
        "Whether an instruction set multiplies bfloat16.");
  m.def("has_tiles", [](const std::string& isa) { return dcnn::isa_named(isa).bf16 == dcnn::Bf16::tiles; },
        "Whether it does so in a tile unit.");
  m.def("peak", &peak, "Runs rounds of multiply-adds in registers; returns the operations done, for a benchmark's peak.");
}
