// The block for Python: its records, and the calls that take them. Everything that a kernel touches is checked here or when its
// record is made: a wrong argument is a ValueError that names it.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "block_spec.h"
#include "core/plan/column.h"
#include "core/regions.h"
#include "gradient.h"
#include "memory.h"
#include "operands.h"
#include "pack.h"
#include "plain_arithmetic.h"
#include "run.h"

namespace py = pybind11;

namespace dcnn {

namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;

// ---- Records.

struct NormSpec {
  Norm kind;
  int64_t size;
  float scale, power, k;
};

NormSpec norm_spec(const std::string& kind, int64_t size, float scale, float power, float k) {
  if (size < 1 || size > kMost) refuse("Norm: size", "1 to 2**31 - 1", std::to_string(size));
  return {norm_named(kind), size, scale, power, k};
}

BlockSpec block_spec(int64_t channels, int64_t filters, int64_t size, int64_t stride, int64_t padding, int64_t groups,
                     const std::string& rounding, const std::pair<int64_t, int64_t>& pool, const std::optional<NormSpec>& norm,
                     bool norm_first, const std::string& precision, std::vector<float> mean, float scale, bool pool_average,
                     bool relu_last) {
  const NormSpec n = norm.value_or(NormSpec{Norm::none, 1, 0.0f, 0.0f, 1.0f});
  BlockSpec block{channels, filters, size,    stride,  padding, groups,     rounds_up(rounding), pool.first, pool.second,
                  n.kind,   n.size,  n.scale, n.power, n.k,     norm_first, precision_named(precision), std::move(mean), scale, pool_average,
                  relu_last};
  require_block(block);
  return block;
}

// A checked copy of tables: later changes to the caller's arrays have no effect.
struct CheckedRegions {
  std::vector<RegionRow> regions;
  std::vector<PieceRow> pieces;
  std::vector<StoreRow> stores;
  RegionGeometry geometry;
  std::vector<ImagesShape> sources, outputs;
  Largest largest;
  ImagesShape whole{0, 0, 0};  // of values kept for a backward: regions are whole images with one piece; else 0 rows
};

template <typename Row>
std::vector<Row> copied(const Rows<Row>& rows) {
  return {rows.begin(), rows.end()};
}

// [images, rows, cols] of the results, if every region reads the one source and has one piece with all its pool windows;
// otherwise 0 rows.
ImagesShape whole_images(const CheckedRegions& work) {
  ImagesShape whole{0, 0, 0};
  for (const RegionRow& region : work.regions) {
    if (region.source != 0 || region.count != 1) return {0, 0, 0};
    const PieceRow& piece = work.pieces[static_cast<size_t>(region.first)];
    const bool alike = whole.rows == 0 || (piece.rows == whole.rows && piece.cols == whole.cols);
    if (piece.top != 0 || piece.left != 0 || !alike) return {0, 0, 0};
    whole = {work.sources[0].images, piece.rows, piece.cols};
  }
  return whole;
}

CheckedRegions checked_regions(const BlockSpec& block, const py::array& regions, const py::array& pieces, const py::array& stores,
                               const ShapeList& sources, const ShapeList& outputs) {
  CheckedRegions work{copied(rows_of<RegionRow>("regions", regions)), copied(rows_of<PieceRow>("pieces", pieces)),
                      copied(rows_of<StoreRow>("stores", stores)),    block.geometry(),
                      shapes_of(sources),                             shapes_of(outputs), {}};
  require_regions({rows_in(work.regions), rows_in(work.pieces), rows_in(work.stores)}, work.geometry, work.sources, work.outputs);
  work.largest = Largest(work.regions);
  work.whole = whole_images(work);
  return work;
}

// A block's weights in the order of an instruction set's kernels. They are immutable and need no lock, so threads and children
// of a fork may share them.
struct PackedWeights {
  const Isa* isa;
  BlockSpec block;
  bool taps_only;
  std::shared_ptr<const Packed> packed;

  BlockProblem problem() const {
    BlockProblem p = problem_of(block);
    p.taps_only = taps_only;
    if (packed != nullptr) {
      p.weight = packed->weight.data();
      p.bias = packed->bias.data();
    }
    return p;
  }
};

PackedWeights unpacked(const std::string& isa_name, const BlockSpec& block, bool taps_only) {
  const Isa& isa = isa_named(isa_name);
  require_precision(isa, block);
  return {&isa, with_mean(block), taps_only, nullptr};
}

using Pack = std::shared_ptr<const Packed> (*)(const Isa&, const BlockProblem&, const Weights&);

template <Pack pack>
PackedWeights packed(const std::string& isa_name, const BlockSpec& block, const py::array& weight,
                     const std::optional<py::array>& bias, bool taps_only) {
  const Weights weights = weights_of(block, weight, bias);  // first: a mean takes no more memory than right weights
  PackedWeights found = unpacked(isa_name, block, taps_only);
  const py::gil_scoped_release unlocked;
  const PlainArithmetic plain;
  found.packed = pack(*found.isa, found.problem(), weights);
  return found;
}

// ---- Operands.

// [images, filters, rows, cols] in channels_last memory.
template <typename Value>
void require_activations(const std::string& name, const py::array& array, const char* type, const std::vector<int64_t>& shape) {
  require_values<Value>(name, array, type);
  require_shape(name, array, shape);
  if (!channels_last(array)) refuse(name, "in channels_last memory", "other strides");
}

template <typename Value>
Value* activations_to(const std::string& name, const std::optional<py::array>& array, const char* type,
                      const std::vector<int64_t>& shape) {
  if (!array) return nullptr;
  require_activations<Value>(name, *array, type, shape);
  return written<Value>(name, *array);
}

void require_count(const char* name, size_t got, size_t wanted) {
  if (got != wanted) refuse(name, "the " + std::to_string(wanted) + " that the regions were checked for", std::to_string(got));
}

bool same(const RegionGeometry& a, const RegionGeometry& b) {
  return a.size == b.size && a.stride == b.stride && a.padding == b.padding && a.round_up == b.round_up &&
         a.pool_size == b.pool_size && a.pool_stride == b.pool_stride;
}

void require_hits(const BlockSpec& block) {
  if (block.pool_size > 4) refuse("hits", "of a pool of at most 16 outputs", std::to_string(block.pool_size) + " x " + std::to_string(block.pool_size));
}

// ---- Calls.

// The operands of a call of the block, except its weights.
struct Operands {
  const CheckedRegions& work;
  const std::vector<py::array>&sources, &outputs;
  const std::optional<py::array>&hits, &values;
  int threads;
};

// raw: weights to look up while the interpreter's lock is released; null where they are packed.
void run_regions(const PackedWeights& weights, const Weights* raw, const Operands& given) {
  const auto& [work, sources, outputs, hits, values, threads] = given;
  require_threads(threads);
  const BlockSpec& block = weights.block;
  if (!same(work.geometry, block.geometry())) throw std::invalid_argument("regions must have been checked for the weights' block");
  require_count("sources", sources.size(), work.sources.size());
  require_count("outputs", outputs.size(), work.outputs.size());
  Touched touched;
  std::vector<Source> from;
  for (size_t i = 0; i < sources.size(); ++i) {
    touched.reads("sources", sources[i], static_cast<int64_t>(i));
    from.push_back(source_of("sources[" + std::to_string(i) + "]", sources[i], work.sources[i], block.channels));
  }
  std::vector<Output> to;
  for (size_t i = 0; i < outputs.size(); ++i) {
    touched.writes("outputs", outputs[i], static_cast<int64_t>(i));
    const std::string name = "outputs[" + std::to_string(i) + "]";
    const ImagesShape& shape = work.outputs[i];
    require_activations<float>(name, outputs[i], "float32", {shape.images, block.filters, shape.rows, shape.cols});
    to.push_back({written<float>(name, outputs[i]), shape.images, shape.rows, shape.cols});
  }
  BlockProblem p = weights.problem();
  if ((hits || values) && !work.regions.empty()) {
    const ImagesShape& kept = work.whole;
    if (kept.rows == 0) throw std::invalid_argument("hits and values are of regions that are whole images");
    const std::vector<int64_t> shape{kept.images, block.filters, kept.rows, kept.cols};
    p.hits = reinterpret_cast<uint16_t*>(activations_to<int16_t>("hits", hits, "int16", shape));
    p.values = activations_to<float>("values", values, "float32", shape);
  }
  if (hits) touched.writes("hits", *hits);
  if (values) touched.writes("values", *values);
  touched.require_apart();
  if (hits) require_hits(block);
  require_countable(scratch_bound(p, work.largest));
  p.sources = from.data();
  p.outputs = to.data();
  p.pieces = work.pieces.data();
  p.stores = work.stores.data();
  const py::gil_scoped_release unlocked;
  const PlainArithmetic plain;
  std::shared_ptr<const Packed> found;
  if (raw != nullptr) {
    found = packed_weights(*weights.isa, p, *raw);
    p.weight = found->weight.data();
    p.bias = found->bias.data();
  }
  run_block(*weights.isa, p, work.regions.data(), static_cast<int64_t>(work.regions.size()), threads);
}

void block_regions(const PackedWeights& weights, const CheckedRegions& work, const std::vector<py::array>& sources,
                   const std::vector<py::array>& outputs, const std::optional<py::array>& hits,
                   const std::optional<py::array>& values, int threads) {
  run_regions(weights, nullptr, {work, sources, outputs, hits, values, threads});
}

// One call rather than two: each call that releases the interpreter's lock may have to wait for it.
void looked_up_block_regions(const std::string& isa_name, const BlockSpec& block, const CheckedRegions& work, const py::array& weight,
                             const std::optional<py::array>& bias, bool taps_only, const std::vector<py::array>& sources,
                             const std::vector<py::array>& outputs, const std::optional<py::array>& hits,
                             const std::optional<py::array>& values, int threads) {
  const Weights raw = weights_of(block, weight, bias);
  run_regions(unpacked(isa_name, block, taps_only), &raw, {work, sources, outputs, hits, values, threads});
}

int64_t count_of(int64_t extent, const char* what, int64_t size, int64_t stride, bool round_up) {
  const int64_t count = window_count(extent, size, stride, round_up);
  if (count < 1) throw std::invalid_argument("x must be large enough for " + std::string(what));
  return count;
}

// The problem of gradients of whole images; its outputs are not set yet.
GradientProblem gradient_problem(const BlockSpec& b, const py::array& x, Source* source) {
  if (x.ndim() != 4) refuse("x", "[images, channels, rows, cols]", described(x));
  for (const int axis : {0, 2, 3}) {
    if (x.shape(axis) > kMost) refuse("x", "of extents below 2**31", described(x));
  }
  *source = source_of("x", x, {x.shape(0), x.shape(2), x.shape(3)}, b.channels);
  GradientProblem q{};
  q.images = x.shape(0);
  q.height = x.shape(2);
  q.width = x.shape(3);
  q.padding = b.padding;
  q.conv_rows = count_of(q.height + 2 * b.padding, "a convolution's window", b.size, b.stride, b.round_up);
  q.conv_cols = count_of(q.width + 2 * b.padding, "a convolution's window", b.size, b.stride, b.round_up);
  q.out_rows = count_of(q.conv_rows, "a pool's window", b.pool_size, b.pool_stride, b.round_up);
  q.out_cols = count_of(q.conv_cols, "a pool's window", b.pool_size, b.pool_stride, b.round_up);
  return q;
}

bool first_takes(const std::string& ties) {
  if (ties != "all" && ties != "first") refuse("ties", "all or first", "'" + ties + "'");
  return ties == "first";
}

// Checks the values kept by the forward: a pool's hits and, where a norm follows it, that norm's input; without a pool, the
// norm's input or the result; or nothing, where the convolution is computed again.
void require_kept(const GradientProblem& q, const BlockSpec& b) {
  const bool plain = b.pool_size == 1 && b.pool_stride == 1;
  if (q.hits != nullptr) require_hits(b);
  if ((b.pool_average || b.relu_last) && !q.again) throw std::invalid_argument("hits and values must not be given of a pool that averages or with the ReLU last");
  if (q.hits != nullptr && b.norm != Norm::none && q.values == nullptr) {
    throw std::invalid_argument("values must be given with hits where a norm follows the pool");
  }
  if (q.hits == nullptr && q.values != nullptr && !plain) throw std::invalid_argument("hits must be given with values of a pool");
}

// A bound of all of an image's work in run_gradients, in floats.
double gradient_bound(const GradientProblem& q, const BlockProblem& input) {
  constexpr double kActivations = 12.0;  // the most held at a time for one image
  const BlockProblem& p = q.block;
  const auto as_double = [](int64_t value) { return static_cast<double>(value); };
  const double rows = as_double(q.conv_rows), cols = as_double(q.conv_cols), stride = as_double(p.stride);
  const double filters = as_double(p.filters) + 64.0, channels = as_double(p.channels) + 64.0;
  const double pixels = (as_double(q.height) + 64.0 + stride) * (as_double(q.width) + 64.0 + stride) * channels;
  const double sums = 64.0 * channels * stride * stride * (filters + 64.0 * as_double(p.groups));  // of the weights, at points
  return kActivations * (rows + 1.0) * (cols + 1.0) * filters + kActivations * pixels * stride + 2.0 * scratch_bound(p, rows, cols, 1.0) + sums +
         scratch_bound(input, as_double(q.height) + stride, as_double(q.width) + stride, 1.0);
}

BlockProblem input_problem(const BlockProblem& p, const std::vector<float>& zeros) {
  BlockProblem input{};
  input.channels = p.filters;
  input.filters = p.channels * p.stride * p.stride;
  input.size = (p.size + p.stride - 1) / p.stride;
  input.stride = input.pool_size = input.pool_stride = input.norm_size = 1;
  input.groups = p.groups;
  input.mean = zeros.data();
  input.scale = 1.0f;
  input.linear = true;
  return input;
}

void block_gradients(const std::string& isa_name, const BlockSpec& block, const py::array& x, const py::array& weight,
                     const std::optional<py::array>& bias, const py::array& grad, const std::optional<py::array>& values,
                     const std::optional<py::array>& hits, const std::string& ties, const std::optional<py::array>& grad_x,
                     const std::optional<py::array>& grad_weight, const std::optional<py::array>& grad_bias, int threads) {
  require_threads(threads);
  const Isa& isa = isa_named(isa_name);
  require_precision(isa, block);
  if (block.precision == Precision::bf16x3) throw std::invalid_argument("precision must be ieee or bf16: bf16x3 has no gradients");
  const Weights weights = weights_of(block, weight, bias);
  Source source{};
  GradientProblem q = gradient_problem(block, x, &source);
  const std::vector<int64_t> kept{q.images, block.filters, q.out_rows, q.out_cols};
  require_activations<float>("grad", grad, "float32", kept);
  if (values) require_activations<float>("values", *values, "float32", kept);
  if (hits) require_activations<int16_t>("hits", *hits, "int16", kept);
  q.grad = static_cast<const float*>(grad.data());
  q.values = values ? static_cast<const float*>(values->data()) : nullptr;
  q.hits = hits ? static_cast<const uint16_t*>(hits->data()) : nullptr;
  q.again = !values && !hits;
  q.first = first_takes(ties);
  require_kept(q, block);
  q.grad_x = activations_to<float>("grad_x", grad_x, "float32", {q.images, block.channels, q.height, q.width});
  q.grad_weight =
      activations_to<float>("grad_weight", grad_weight, "float32", {block.filters, block.channels / block.groups, block.size, block.size});
  if (grad_bias) {
    require_values<float>("grad_bias", *grad_bias, "float32");
    require_shape("grad_bias", *grad_bias, {block.filters});
    if (!contiguous(*grad_bias)) refuse("grad_bias", "contiguous", "other strides");
    q.grad_bias = written<float>("grad_bias", *grad_bias);
  }
  Touched touched;
  for (const auto& [name, array] : {std::pair{"x", &x}, {"weight", &weight}, {"grad", &grad}}) touched.reads(name, *array);
  for (const auto& [name, array] : {std::pair{"bias", &bias}, {"values", &values}, {"hits", &hits}}) {
    if (*array) touched.reads(name, **array);
  }
  for (const auto& [name, array] : {std::pair{"grad_x", &grad_x}, {"grad_weight", &grad_weight}, {"grad_bias", &grad_bias}}) {
    if (*array) touched.writes(name, **array);
  }
  touched.require_apart();
  PackedWeights forward{&isa, with_mean(block), !q.first, nullptr};  // ties count: equal inputs need equal outputs
  q.block = forward.problem();
  q.block.sources = &source;
  const std::vector<float> zeros(static_cast<size_t>(block.filters), 0.0f);
  BlockProblem input = input_problem(q.block, zeros);
  require_countable(gradient_bound(q, input));
  std::shared_ptr<const Packed> input_packed;
  const py::gil_scoped_release unlocked;
  const PlainArithmetic plain;
  if (q.again) {
    forward.packed = packed_weights(isa, q.block, weights);
    q.block.weight = forward.packed->weight.data();
    q.block.bias = forward.packed->bias.data();
  }
  if (q.grad_x != nullptr) {
    const std::vector<float> filters = input_filters(q.block, weights);
    input_packed = packed_weights(isa, input, {filters.data(), nullptr, false});
    input.weight = input_packed->weight.data();
    input.bias = input_packed->bias.data();
    q.input = &input;
  }
  run_gradients(isa, q, threads);
}

}  // namespace

void bind_block(py::module_& m) {
  py::class_<NormSpec>(m, "Norm", "A response norm: across maps or within them.")
      .def(py::init(&norm_spec), py::kw_only(), py::arg("kind"), py::arg("size"), py::arg("scale"), py::arg("power"), py::arg("k"));
  py::class_<BlockSpec>(m, "Block", "conv, bias, ReLU (or that last), then pool and norm in either order; its sizes are checked.")
      .def(py::init(&block_spec), py::kw_only(), py::arg("channels"), py::arg("filters"), py::arg("size"), py::arg("stride"),
           py::arg("padding"), py::arg("groups"), py::arg("rounding"), py::arg("pool"), py::arg("norm"), py::arg("norm_first"),
           py::arg("precision"), py::arg("mean"), py::arg("scale"), py::arg("pool_average"), py::arg("relu_last"));
  py::class_<CheckedRegions>(m, "Regions", "Tables of regions that keep the rules for a block, its sources and outputs: a copy.")
      .def(py::init(&checked_regions), py::arg("block"), py::arg("regions"), py::arg("pieces"), py::arg("stores"), py::kw_only(),
           py::arg("sources"), py::arg("outputs"));
  py::class_<PackedWeights>(m, "PackedWeights", "A block's weights as an instruction set reads them: a copy, which its owner keeps.")
      .def(py::init(&packed<pack_weights>), py::arg("isa"), py::arg("block"), py::kw_only(), py::arg("weight"), py::arg("bias"),
           py::arg("taps_only"))
      .def_property_readonly("block", [](const PackedWeights& weights) -> const BlockSpec& { return weights.block; });
  m.def("packed_weights", &packed<packed_weights>, py::arg("isa"), py::arg("block"), py::kw_only(), py::arg("weight"), py::arg("bias"),
        py::arg("taps_only"), "The same, looked up by their values among those that the engine packed last.");
  m.def("block_regions", &block_regions, py::arg("weights"), py::arg("regions"), py::kw_only(), py::arg("sources"),
        py::arg("outputs"), py::arg("hits"), py::arg("values"), py::arg("threads"), "The fused block over regions.");
  m.def("looked_up_block_regions", &looked_up_block_regions, py::arg("isa"), py::arg("block"), py::arg("regions"), py::kw_only(),
        py::arg("weight"), py::arg("bias"), py::arg("taps_only"), py::arg("sources"), py::arg("outputs"), py::arg("hits"),
        py::arg("values"), py::arg("threads"), "block_regions with what packed_weights finds.");
  m.def("block_gradients", &block_gradients, py::arg("isa"), py::arg("block"), py::kw_only(), py::arg("x"), py::arg("weight"),
        py::arg("bias"), py::arg("grad"), py::arg("values"), py::arg("hits"), py::arg("ties"), py::arg("grad_x"),
        py::arg("grad_weight"), py::arg("grad_bias"), py::arg("threads"), "The gradients of the fused block over whole images.");
}

}  // namespace dcnn
