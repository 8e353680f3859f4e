// Runs several callers at once, each on several threads, of everything that distributes its work: for a build with
// ThreadSanitizer (`python -m devtools.sanitize --thread`). Every caller must get the bits of one caller on one thread.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backbone.h"
#include "block_spec.h"
#include "column.h"
#include "core/plan/plan.h"
#include "mbconv.h"
#include "pack.h"
#include "run.h"

namespace {

using dcnn::Isa;
using Floats = std::vector<float>;
using Work = std::function<Floats(int threads)>;

constexpr int kCallers = 4, kThreads = 3, kRounds = 4;

// Pseudorandom numbers from -1 to 1.
Floats numbers(int64_t count, uint32_t seed) {
  Floats found;
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    found.push_back(static_cast<float>(seed >> 8) / 8388608.0f - 1.0f);
  }
  return found;
}

dcnn::BlockSpec block(int64_t channels, int64_t filters, int64_t size, bool pooled) {
  const int64_t pool = pooled ? 3 : 1, stride = pooled ? 2 : 1;
  return {channels, filters, size, 1, size / 2, 1, true, pool, stride, dcnn::Norm::cross_map, 5, 1e-3f, 0.75f, 1.0f, false,
          dcnn::Precision::ieee, Floats(static_cast<size_t>(channels), 0.5f), 1.0f};
}

// Two blocks over windows that share most of their outputs; weights are looked up in the cache.
Work column(const Isa& isa) {
  const auto specs = std::make_shared<std::vector<dcnn::BlockSpec>>(std::vector{block(3, 20, 5, true), block(20, 24, 3, true)});
  const auto weights = std::make_shared<std::vector<Floats>>();
  dcnn::ColumnShape shape{3, 24, true, {}};
  for (const dcnn::BlockSpec& b : *specs) {
    weights->push_back(numbers(b.filters * b.channels * b.size * b.size, 1));
    weights->push_back(numbers(b.filters, 2));
    const dcnn::OutputTile tile = dcnn::engine_tile({b.size, b.stride, b.channels, b.filters}, b.precision, isa.bf16);
    shape.blocks.push_back({b.filters, b.size, b.stride, b.padding, 1, b.pool_size, b.pool_stride, 1, 0, tile.side, tile.size, tile.macs});
  }
  const auto plane = std::make_shared<Floats>(numbers(3 * 40 * 40, 3));
  return [&isa, specs, weights, shape, plane](int threads) {
    const std::vector<dcnn::Window> windows{{0, 0}, {4, 8}, {8, 4}, {12, 16}, {16, 16}, {1, 3}};
    const dcnn::Plan plan = dcnn::plan_of(shape, windows, {40, 40}, {9.0, true});
    std::vector<dcnn::ColumnBlock> blocks;
    for (size_t i = 0; i < specs->size(); ++i) {
      blocks.push_back({(*specs)[i], {(*weights)[2 * i].data(), (*weights)[2 * i + 1].data(), false}});
    }
    const dcnn::OutputShape& last = plan.blocks.back().outputs.front();
    Floats out(static_cast<size_t>(last.images * last.rows * last.cols * specs->back().filters));
    dcnn::run_column(isa, blocks, plan.blocks, {plane->data(), false, 1, 3 * 40, 3, 0}, {1, 40, 40}, out.data(), threads);
    return out;
  };
}

// The gradients of weight and bias for images divided among threads: as sums over positions or in tiles.
Work gradients(const Isa& isa, bool tiles) {
  constexpr int64_t kImages = 5, kSide = 12, kChannels = 13;
  const auto spec = std::make_shared<dcnn::BlockSpec>(block(kChannels, 18, 3, true));
  const auto x = std::make_shared<Floats>(numbers(kImages * kSide * kSide * kChannels, 4));
  const auto weight = std::make_shared<Floats>(numbers(18 * kChannels * 9, 5)), grad = std::make_shared<Floats>(numbers(kImages * 6 * 6 * 18, 6));
  return [&isa, tiles, spec, x, weight, grad](int threads) {
    const dcnn::Source source{x->data(), false, 1, kSide * kChannels, kChannels, kSide * kSide * kChannels};
    dcnn::GradientProblem q{};
    q.block = dcnn::problem_of(*spec);
    q.block.taps_only = !tiles;
    q.first = tiles;
    const auto packed = dcnn::packed_weights(isa, q.block, {weight->data(), nullptr, false});
    q.block.weight = packed->weight.data();
    q.block.bias = packed->bias.data();
    q.block.sources = &source;
    q.images = kImages;
    q.height = q.width = q.conv_rows = q.conv_cols = kSide;
    q.out_rows = q.out_cols = 6;
    q.padding = 1;
    q.again = true;
    q.grad = grad->data();
    Floats found(18 * kChannels * 9 + 18);
    q.grad_weight = found.data();
    q.grad_bias = found.data() + 18 * kChannels * 9;
    dcnn::run_gradients(isa, q, threads);
    return found;
  };
}

Work linear(const Isa& isa) {
  constexpr int64_t kRows = 7, kInputs = 70, kOutputs = 200;
  const auto x = std::make_shared<Floats>(numbers(kRows * kInputs, 7)), weight = std::make_shared<Floats>(numbers(kOutputs * kInputs, 8));
  const auto bias = std::make_shared<Floats>(numbers(kOutputs, 9));
  return [&isa, x, weight, bias](int threads) {
    Floats y(kRows * kOutputs);
    dcnn::run_linear(isa, {x->data(), weight->data(), bias->data(), y.data(), kRows, kInputs, kOutputs, true, false, nullptr}, threads);
    return y;
  };
}

std::shared_ptr<dcnn::PackedMbConv> inverted(const Isa& isa, int64_t channels, int64_t expanded) {
  const Floats expand = numbers(expanded * channels, 10), depthwise = numbers(expanded * 9, 11), project = numbers(channels * expanded, 12);
  const Floats bias = numbers(expanded, 13);
  return std::make_shared<dcnn::PackedMbConv>(isa, dcnn::MbConvShape{channels, expanded, channels, 3, 1, true, true, false},
                                              dcnn::MbConvLayer{expand.data(), bias.data()}, dcnn::MbConvLayer{depthwise.data(), bias.data()},
                                              dcnn::MbConvLayer{project.data(), bias.data()});
}

// More images than threads, or fewer, whose rows the threads share.
Work backbone(const Isa& isa, int64_t images) {
  constexpr int64_t kSide = 25, kFilters = 12, kOutputs = 40;
  const Floats stem = numbers(kFilters * 3 * 9, 14), head = numbers(kOutputs * kFilters, 15), bias = numbers(kOutputs, 16);
  const auto net = std::make_shared<dcnn::Backbone>(
      isa, dcnn::Stem{3, kFilters, 3, 2, Floats(3, 0.1f), 1.0f}, dcnn::MbConvLayer{stem.data(), bias.data()},
      std::vector{inverted(isa, kFilters, 30), inverted(isa, kFilters, 50)}, kOutputs, dcnn::MbConvLayer{head.data(), bias.data()},
      std::vector<int64_t>{0}, false);
  const auto x = std::make_shared<Floats>(numbers(images * kSide * kSide * 3, 17));
  return [net, x, images](int threads) {
    Floats out(static_cast<size_t>(images * net->features()));
    dcnn::run_backbone(*net, {x->data(), false, 1, kSide * 3, 3, kSide * kSide * 3}, images, kSide, kSide, out.data(), threads);
    return out;
  };
}

Work update() {
  constexpr int64_t kCount = 400000;  // several pieces
  return [](int threads) {
    Floats weight = numbers(kCount, 18), increment = numbers(kCount, 19);
    const Floats gradient = numbers(kCount, 20);
    dcnn::run_update(dcnn::UpdateKind::float32, {{weight.data(), gradient.data(), increment.data(), kCount, 0.1, 0.9, 0.01}}, threads);
    return weight;
  };
}

bool same(const Floats& a, const Floats& b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0; }

}  // namespace

int main() {
  std::vector<std::pair<std::string, Work>> works{{"update", update()}};
  for (const Isa* isa : dcnn::available_isas()) {
    const std::string name = isa->name;
    works.emplace_back(name + " column", column(*isa));
    works.emplace_back(name + " gradients", gradients(*isa, false));
    works.emplace_back(name + " gradients in tiles", gradients(*isa, true));
    works.emplace_back(name + " linear", linear(*isa));
    works.emplace_back(name + " backbone of one image", backbone(*isa, 1));
    works.emplace_back(name + " backbone of five images", backbone(*isa, 5));
  }
  std::vector<Floats> expected;
  for (const auto& [name, work] : works) expected.push_back(work(1));

  std::atomic<int> calls{0}, wrong{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      for (size_t i = 0; i < kRounds * works.size(); ++i) {
        const size_t at = (i + static_cast<size_t>(caller)) % works.size();  // equal and different works at a time
        if (!same(works[at].second(kThreads), expected[at])) {
          std::fprintf(stderr, "%s: other bits beside other callers\n", works[at].first.c_str());
          ++wrong;
        }
        ++calls;
      }
    });
  }
  std::thread forks([&] {  // the hooks around a fork, which may come at any time
    while (!done) {
      dcnn::before_fork();
      dcnn::after_fork();
      std::this_thread::yield();
    }
  });
  for (std::thread& caller : callers) caller.join();
  done = true;
  forks.join();
  std::printf("%d calls of %zu kinds by %d callers on %d threads each: %d with other bits\n", calls.load(), works.size(), kCallers, kThreads,
              wrong.load());
  return wrong == 0 ? 0 : 1;
}
