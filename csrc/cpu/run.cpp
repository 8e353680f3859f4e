#include "run.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "buffer.h"
#include "pack.h"
#include "spread.h"

namespace dcnn {
namespace {

// One image's convolution without pool and norm, into [rows, cols, filters].
void run_convolution(const Isa& isa, BlockProblem p, const RegionRow& r, float* out, float* scratch) {
  const PieceRow piece{0, 0, r.rows, r.cols, 0, 1};
  const StoreRow store{0, 0, r.rows, r.cols, 0, 0, 0, 0};
  const Output output{out, 1, r.rows, r.cols};
  p.pieces = &piece;
  p.stores = &store;
  p.outputs = &output;
  isa.region(p, r, scratch);
}

size_t convolution_scratch(const Isa& isa, BlockProblem p, const RegionRow& r) {
  const PieceRow piece{0, 0, r.rows, r.cols, 0, 1};
  p.pieces = &piece;
  return isa.region_scratch(p, r);
}

// The block's convolution alone.
BlockProblem without_tail(BlockProblem p) {
  p.pool_size = p.pool_stride = 1;
  p.norm = Norm::none;
  p.norm_first = false;
  p.pool_average = p.relu_last = false;  // a linear convolution stays linear
  p.hits = nullptr;
  p.values = nullptr;
  return p;
}

// An image's outputs of the convolution for the input's gradient: pixel s * i + phase - padding of the image comes from output
// i, where s is the block's stride.
RegionRow input_region(const GradientProblem& q) {
  const int64_t stride = q.block.stride, first = q.padding / stride, reach = q.input->size - 1;
  const int64_t rows = (q.height - 1 + q.padding) / stride - first + 1, cols = (q.width - 1 + q.padding) / stride - first + 1;
  return {0, 0, 0, 0, q.conv_rows, q.conv_cols, first - reach, first - reach, rows, cols, 0, 0, 0, 1};
}

// Rearranges the residues [rows, cols, groups, stride, stride, channels of a group] into an image [height, width, channels].
void join_phases(const GradientProblem& q, const RegionRow& r, const float* phases, float* image) {
  const int64_t stride = q.block.stride, channels = q.block.group_channels(), groups = q.block.groups;
  const int64_t shift = q.padding % stride;
  for (int64_t y = 0; y < q.height; ++y) {
    for (int64_t x = 0; x < q.width; ++x) {
      const int64_t row = y + shift, col = x + shift;
      const float* from = phases + (row / stride * r.cols + col / stride) * q.block.channels * stride * stride;
      from += (row % stride * stride + col % stride) * channels;
      for (int64_t g = 0; g < groups; ++g, from += stride * stride * channels, image += channels) {
        std::memcpy(image, from, static_cast<size_t>(channels) * sizeof(float));
      }
    }
  }
}

// The most chunks of images, whose sums are formed separately and then added.
constexpr int64_t kChunks = 16;

void add_chunks(const Isa& isa, const GradientProblem& q, Buffer& sums, int64_t chunks, int64_t floats, int64_t weights) {
  float* total = sums.data();
  for (int64_t c = 1; c < chunks; ++c) {
    const float* more = total + c * floats;
    for (int64_t i = 0; i < floats; ++i) total[i] += more[i];
  }
  const BlockProblem& p = q.block;
  const int64_t block = isa.filter_block, per_group = p.group_filters(), terms = p.size * p.size * p.group_channels();
  const int64_t blocks = round_up(per_group, block) / block;
  for (int64_t f = 0; q.grad_weight != nullptr && f < p.filters; ++f) {
    const float* from = total + (f / per_group * blocks + f % per_group / block) * terms * block + f % per_group % block;
    for (int64_t i = 0; i < terms; ++i) q.grad_weight[f * terms + i] = from[i * block];
  }
  if (q.grad_bias != nullptr) std::memcpy(q.grad_bias, total + weights, static_cast<size_t>(p.filters) * sizeof(float));
}

}  // namespace

std::vector<const Isa*> compiled_isas() {
#ifdef DCNN_X86
  return {&amx_isa(), &avx512_bf16_isa(), &avx512_isa(), &avx2_isa(), &portable_isa()};
#else
  return {&portable_isa()};
#endif
}

std::vector<const Isa*> available_isas() {
  std::vector<const Isa*> found = compiled_isas();
  found.erase(std::remove_if(found.begin(), found.end(), [](const Isa* isa) { return isa->refusal() != nullptr; }), found.end());
  return found;
}

std::vector<const Isa*> emulated_isas() {
#ifdef DCNN_X86
  if (amx_emulated_isa().refusal() == nullptr) return {&amx_emulated_isa()};
#endif
  return {};
}

const Isa& isa_named(const std::string& name) {
  static const std::vector<const Isa*> available = available_isas(), emulated = emulated_isas();
  for (const auto* isas : {&available, &emulated}) {
    for (const Isa* isa : *isas) {
      if (name == isa->name) return *isa;
    }
  }
  std::string known;
  for (const Isa* isa : available) known += (known.empty() ? "" : ", ") + std::string(isa->name);
  throw std::invalid_argument("instruction set must be one of " + known + "; got '" + name + "'");
}

void run_block(const Isa& isa, const BlockProblem& p, const RegionRow* regions, int64_t count, int threads) {
  if (p.precision == Precision::bf16x3 && isa.bf16 != Bf16::tiles) {
    throw std::invalid_argument(std::string(isa.name) + " has no tile unit for bf16x3");
  }
  spread(count, threads, [&](int64_t i, Scratch& scratch) {
    isa.region(p, regions[i], scratch.at_least(isa.region_scratch(p, regions[i])));
  });
}

void run_gradients(const Isa& isa, const GradientProblem& q, int threads) {
  const GradientKernels& kernels = isa.gradients();
  const BlockProblem conv = without_tail(q.block);
  const int64_t positions = q.conv_rows * q.conv_cols, row = kernels.row(q.block.filters);
  const bool weighted = q.grad_weight != nullptr || q.grad_bias != nullptr;
  const int64_t weights = static_cast<int64_t>(kernels.weights(q)), floats = round_up(weights + row, 16);
  const int64_t chunks = std::max<int64_t>(1, std::min(q.images, kChunks));  // without images, the sums still exist, as zeros
  Buffer sums = Buffer::zeros(weighted ? static_cast<size_t>(chunks * floats) : 0);

  const RegionRow input = q.input == nullptr ? RegionRow{} : input_region(q);
  const bool phases = q.input != nullptr && q.block.stride > 1;
  const int64_t image_floats = q.height * q.width * q.block.channels;
  size_t work = kernels.tail_scratch(q);
  if (weighted) work = std::max(work, kernels.weight_scratch(q));
  if (q.again) work = std::max(work, convolution_scratch(isa, conv, whole_image(q, 0)));
  if (q.input != nullptr) work = std::max(work, convolution_scratch(isa, *q.input, input));
  const int64_t conv_grad_floats = round_up(positions * row + isa.filter_block, 16);
  const int64_t relu_floats = q.again ? round_up(positions * q.block.filters, 16) : 0;
  const int64_t running_floats = weighted ? round_up(static_cast<int64_t>(kernels.running(q)), 16) : 0;
  const int64_t phase_floats = phases ? round_up(input.rows * input.cols * q.input->filters, 16) : 0;

  spread(chunks, threads, [&](int64_t c, Scratch& scratch) {
    float* conv_grad = scratch.at_least(static_cast<size_t>(conv_grad_floats + relu_floats + phase_floats + running_floats) + work);
    float* relu = conv_grad + conv_grad_floats;
    float* phased = relu + relu_floats;
    float* running = phased + phase_floats;
    float* rest = running + running_floats;
    float* chunk = weighted ? sums.data() + c * floats : nullptr;
    std::memset(running, 0, static_cast<size_t>(running_floats) * sizeof(float));
    for (int64_t n = c * q.images / chunks; n < (c + 1) * q.images / chunks; ++n) {
      if (q.again) run_convolution(isa, conv, whole_image(q, n), relu, rest);
      kernels.tail(q, n, relu, conv_grad, rest);
      if (weighted) kernels.weight(q, n, conv_grad, chunk, running, rest);
      if (q.input == nullptr) continue;
      const Source source{conv_grad, false, 1, q.conv_cols * row, row, 0};
      BlockProblem p = *q.input;
      p.sources = &source;
      float* image = q.grad_x + n * image_floats;
      run_convolution(isa, p, input, phases ? phased : image, rest);
      if (phases) join_phases(q, input, phased, image);
    }
    if (weighted) kernels.finish(q, running, chunk);
  });
  if (weighted) add_chunks(isa, q, sums, chunks, floats, weights);
}

void run_linear(const Isa& isa, const LinearProblem& p, int threads) {
  if (p.bf16 && isa.bf16 == Bf16::floats) throw std::invalid_argument(std::string(isa.name) + " has no products of bfloat16");
  constexpr int64_t kSlice = 48;  // outputs per thread at a time
  LinearProblem packed = p;
  Buffer rows;
  if (p.bf16 && isa.pack_rows != nullptr) {
    rows = Buffer(isa.rows_floats(p));
    isa.pack_rows(p, rows.data());
    packed.packed_rows = rows.data();
  }
  spread((p.outputs + kSlice - 1) / kSlice, threads, [&](int64_t i, Scratch& scratch) {
    const int64_t first = i * kSlice, last = std::min(first + kSlice, p.outputs);
    isa.linear(packed, first, last, scratch.at_least(isa.linear_scratch(packed, first, last)));
  });
}

void run_update(UpdateKind kind, const std::vector<UpdateRow>& rows, int threads) {
  constexpr int64_t kPiece = 1 << 16;  // values per thread at a time
  struct Piece {
    const UpdateRow* row;
    int64_t first;
  };
  std::vector<Piece> pieces;
  for (const UpdateRow& row : rows) {
    for (int64_t first = 0; first < row.count; first += kPiece) pieces.push_back({&row, first});
  }
  const auto count = static_cast<int64_t>(pieces.size());
  const int useful = count > 4 ? threads : 1;  // for fewer values, starting a thread takes longer than the work
  spread(count, useful, [&](int64_t i, Scratch&) {
    const Piece& piece = pieces[static_cast<size_t>(i)];
    update_values(kind, *piece.row, piece.first, std::min(piece.first + kPiece, piece.row->count));
  });
}

void before_fork() {
  lock_packed_weights();
  lock_scratch();
}

void after_fork() {
  unlock_scratch();
  unlock_packed_weights();
}

}  // namespace dcnn
