#include "core/plan/window.h"

namespace dcnn {

namespace {

// Sets `near` and `far`. axis, next: the following block, and the window there; null after the last, where no rim reads.
void set_frame(const Axis* axis, const Along* next, Along* w) {
  const Range shared = w->shared;
  w->near = shared.last;
  w->far = shared.last + 1;
  if (next == nullptr) return;
  const Range before = next->results(kBefore, axis->out), after = next->results(kAfter, axis->out);
  const int64_t near = before.empty() ? shared.first - 1
                                      : std::min(shared.last, axis->inputs(axis->span(before).outputs, next->lattice).last);
  const int64_t far = after.empty() ? shared.last + 1
                                    : std::max(shared.first, axis->inputs(axis->span(after).outputs, next->lattice).first);
  if (near >= far - 1) return;  // the two sides together read everything
  w->near = near;
  w->far = far;
}

void set_counts(const Axis& axis, Along* w) {
  const auto add = [&](Part part, int64_t* tiles, int64_t* reads) {
    const Range results = w->results(part, axis.out);
    if (results.empty()) return;
    const int64_t outputs = axis.whole_tiles(axis.span(results).outputs.moved(w->lattice));
    *tiles += outputs;
    *reads += axis.reads(outputs);
  };
  w->tiles = w->reads = {0, 0, 0};
  add(kBefore, &w->tiles.rim, &w->reads.rim);
  add(kAfter, &w->tiles.rim, &w->reads.rim);
  add(kShared, &w->tiles.shared, &w->reads.shared);
  add(kAll, &w->tiles.all, &w->reads.all);
}

// Writes every block of a window at `place` to `to`.
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
    set_counts(axis, &w);
    inputs = w.shared;
  }
  for (size_t i = 0; i + 1 < axes.size(); ++i) set_frame(&axes[i + 1], &to[i + 1], &to[i]);
  set_frame(nullptr, nullptr, &to[axes.size() - 1]);
}

}  // namespace

Range Along::results(Part part, int64_t out) const {
  switch (part) {
    case kBefore: return {0, shared.first - 1};
    case kAfter: return {shared.last + 1, out - 1};
    case kShared: return shared;
    default: return {0, out - 1};
  }
}

Range Along::frame(Part part) const {
  switch (part) {
    case kBefore: return {shared.first, near};
    case kAfter: return {far, shared.last};
    case kShared: return {near + 1, far - 1};
    default: return shared;
  }
}

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
