#include "core/plan/window.h"

namespace dcnn {

namespace {

// The shared results of a block that are read by the rim of `next`, the block that follows, or by none where `next` is null.
std::array<Range, kParts> frame_of(Range shared, const Axis* axis, const Along* next) {
  int64_t near = shared.last, far = shared.last + 1;  // the last that the rim before reads, and the first that the one after does
  if (next != nullptr) {
    const Span &before = next->spans[kBefore], &after = next->spans[kAfter];
    near = before.results.empty() ? shared.first - 1
                                  : std::min(shared.last, axis->inputs(before.outputs, next->lattice).last);
    far = after.results.empty() ? shared.last + 1 : std::max(shared.first, axis->inputs(after.outputs, next->lattice).first);
    if (near >= far - 1) {  // both together read everything
      near = shared.last;
      far = shared.last + 1;
    }
  }
  return {Range{shared.first, near}, Range{far, shared.last}, Range{near + 1, far - 1}, shared};
}

// Every block of a window at `place`, written to `to`.
void place_window(const std::vector<Axis>& axes, int64_t place, Along* to) {
  Range inputs{0, axes[0].extent - 1};
  for (size_t i = 0; i < axes.size(); ++i) {
    const Axis& axis = axes[i];
    Along& w = to[i];
    w.lattice = floor_div(place, axis.step);
    w.residue = floor_mod(floor_div(place, axis.step / axis.stride), axis.stride);
    w.phase = floor_mod(w.lattice, axis.pool_stride);
    w.shared = axis.shared(inputs, w.lattice);
    w.shared_results = w.shared.moved(floor_div(w.lattice, axis.pool_stride));
    w.shared_outputs = axis.free_span(w.shared).moved(w.lattice);
    const std::array<Range, kParts> results{Range{0, w.shared.first - 1}, Range{w.shared.last + 1, axis.out - 1}, w.shared,
                                            Range{0, axis.out - 1}};
    for (size_t part = 0; part < kParts; ++part) {
      const Span& span = w.spans[part] = axis.span(results[part]);
      w.tiles[part] = span.results.empty() ? 0 : axis.whole_tiles(span.outputs.moved(w.lattice));
      w.reads[part] = span.results.empty() ? 0 : axis.reads(w.tiles[part]);
    }
    inputs = w.shared;
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const bool last = i + 1 == axes.size();
    to[i].frame = frame_of(to[i].shared, last ? nullptr : &axes[i + 1], last ? nullptr : &to[i + 1]);
  }
}

}  // namespace

Windows::Windows(const std::vector<Axis>& axes, const std::vector<Window>& windows) : blocks_(axes.size()), windows_(windows) {
  std::vector<int64_t> places;
  places.reserve(2 * windows.size());
  for (const Window& window : windows) {
    places.push_back(window.top);
    places.push_back(window.left);
  }
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  places_.resize(places.size() * blocks_);
  for (size_t i = 0; i < places.size(); ++i) place_window(axes, places[i], &places_[i * blocks_]);
  const auto number = [&](int64_t place) {
    return static_cast<size_t>(std::lower_bound(places.begin(), places.end(), place) - places.begin());
  };
  for (const Window& window : windows) {
    rows_.push_back(number(window.top));
    cols_.push_back(number(window.left));
  }
}

}  // namespace dcnn
