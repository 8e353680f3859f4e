#include "core/launch/strips.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace dcnn {

namespace {

constexpr int64_t kBelow[] = {2, 3, 4, 6, 8};  // strips below each other in a region
constexpr int64_t kLeastRows = 4;              // of a strip below another, in sizes of the pool
constexpr int64_t kMany = 8;                   // strips a thread block from which on no cut makes them end at one time
constexpr int64_t kNarrowest = 12;             // columns that a strip beside another has about, at least

int64_t over(int64_t count, int64_t part) { return (count + part - 1) / part; }

// The extents of a region and, in order, the rows and the columns in which its pool windows start.
struct Starts {
  int64_t rows, cols;
  std::vector<int64_t> down, across;
};

void add_starts(std::vector<int64_t>* starts, int64_t first, int64_t count, int64_t stride) {
  for (int64_t i = 0; i < count; ++i) starts->push_back(first + stride * i);
}

void sort_unique(std::vector<int64_t>* values) {
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
}

Starts starts_of(const RegionRow& region, const PieceRow* pieces, int64_t stride) {
  Starts found{region.rows, region.cols, {}, {}};
  for (int64_t i = region.first; i < region.first + region.count; ++i) {
    add_starts(&found.down, pieces[i].top, pieces[i].rows, stride);
    add_starts(&found.across, pieces[i].left, pieces[i].cols, stride);
  }
  sort_unique(&found.down);
  sort_unique(&found.across);
  return found;
}

// A strip's outputs along one axis, and the first of them, in which its windows start.
struct Part {
  int64_t first, count, own;
};

// Calls `use` with each part of pool windows that are shared out evenly to `parts`, part i from window windows * i / parts on;
// `extent` outputs are there.
template <typename Use>
void for_evenly(const std::vector<int64_t>& starts, int64_t extent, int64_t pool, int64_t parts, const Use& use) {
  const int64_t windows = static_cast<int64_t>(starts.size());
  parts = std::min(parts, windows);
  if (parts == 0) return;
  const int64_t each = windows / parts, rest = windows % parts;
  for (int64_t i = 0, from = 0, carried = 0; i < parts; ++i) {
    carried += rest;
    const int64_t more = carried >= parts ? 1 : 0;
    carried -= more * parts;
    const int64_t first = starts[static_cast<size_t>(from)];
    from += each + more;
    const int64_t last = starts[static_cast<size_t>(from - 1)];
    use(Part{first, std::min(last + pool, extent) - first, last - first + 1});
  }
}

std::vector<Part> evenly(const std::vector<int64_t>& starts, int64_t extent, int64_t pool, int64_t parts) {
  std::vector<Part> found;
  for_evenly(starts, extent, pool, parts, [&](const Part& part) { found.push_back(part); });
  return found;
}

// A way to share a region's columns out to strips beside each other: how many there are, and how many of them have a step of so many
// rows.
struct Way {
  int64_t parts;
  std::vector<std::pair<int64_t, int64_t>> steps;
};

// Every way whose strips fit.
std::vector<Way> ways_beside(const Starts& region, const StripCutter& cutter) {
  const int64_t pool = cutter.shape().pool_size;
  std::vector<Way> ways;
  for (int64_t count = 1; count <= std::max<int64_t>(1, over(region.cols, kNarrowest)); ++count) {
    Way way{count, {}};
    int64_t least = cutter.shape().outputs;
    for_evenly(region.across, region.cols, pool, count, [&](const Part& part) {
      const int64_t step = cutter.rows_of(part.count);
      least = std::min(least, step);
      const auto same = std::find_if(way.steps.begin(), way.steps.end(), [&](const auto& known) { return known.first == step; });
      if (same == way.steps.end()) {
        way.steps.emplace_back(step, 1);
      } else {
        ++same->second;
      }
    });
    if (least >= 1) ways.push_back(std::move(way));
  }
  return ways;
}

// Steps down all parts of a strip, by the rows of one.
int64_t steps_down(const std::vector<Part>& down, int64_t step) {
  int64_t sum = 0;
  for (const Part& part : down) sum += over(part.count, step);
  return sum;
}

// How a region is cut: strips beside each other, each in the parts `down`.
struct Cut {
  std::vector<Part> down, across;
};

// Beside each other as many strips as take the fewest steps, below each other `parts`.
Cut cut_of(const Starts& region, const std::vector<Way>& ways, int64_t pool, int64_t parts) {
  if (region.down.empty() || region.across.empty()) return {};  // a region without a result
  if (ways.empty()) throw std::logic_error("strips: no strip of the region fits the kernel");
  const int64_t below = std::max<int64_t>(1, region.rows / (kLeastRows * pool));
  Cut found{evenly(region.down, region.rows, pool, std::min(parts, below)), {}};
  const Way* best = nullptr;
  int64_t least = 0;
  for (const Way& way : ways) {
    int64_t cost = 0;
    for (const auto& [step, count] : way.steps) cost += count * steps_down(found.down, step);
    if (best == nullptr || cost < least) {
      best = &way;
      least = cost;
    }
  }
  found.across = evenly(region.across, region.cols, pool, best->parts);
  return found;
}

// Regions of one shape are cut alike: the shapes there are, and which of them each region has.
class Shapes {
 public:
  Shapes(const RegionRow* regions, size_t count, const PieceRow* pieces, const StripCutter& cutter) : cutter_(cutter), of_(count) {
    std::unordered_multimap<uint64_t, size_t> known;  // a shape's first region
    for (size_t i = 0; i < count; ++i) {
      const uint64_t hash = hash_of(regions[i], pieces);
      size_t found = starts_.size();
      const auto range = known.equal_range(hash);
      for (auto it = range.first; it != range.second; ++it) {
        if (alike(regions[i], regions[it->second], pieces)) found = of_[it->second];
      }
      of_[i] = found;
      if (found < starts_.size()) continue;
      known.emplace(hash, i);
      starts_.push_back(starts_of(regions[i], pieces, cutter.shape().pool_stride));
      add_ways();
    }
  }

  // How each shape is cut, at most `parts` strips below each other.
  std::vector<Cut> cuts(int64_t parts) const {
    std::vector<Cut> found;
    for (size_t i = 0; i < starts_.size(); ++i) found.push_back(cut_of(starts_[i], ways_[ways_of_[i]], cutter_.shape().pool_size, parts));
    return found;
  }

  // The steps that each strip of all regions takes, in their order.
  std::vector<int32_t> steps(const std::vector<Cut>& cuts) const {
    std::vector<std::vector<int32_t>> own(cuts.size());
    for (size_t i = 0; i < cuts.size(); ++i) {
      for (const Part& across : cuts[i].across) {
        const int64_t rows = cutter_.rows_of(across.count);
        for (const Part& down : cuts[i].down) own[i].push_back(static_cast<int32_t>(over(down.count, std::min(rows, down.count))));
      }
    }
    std::vector<int32_t> all;
    for (const size_t shape : of_) all.insert(all.end(), own[shape].begin(), own[shape].end());
    return all;
  }

  // Every region's strips.
  std::vector<StripRow> strips(const std::vector<Cut>& cuts) const {
    std::vector<StripRow> all;
    for (size_t i = 0; i < of_.size(); ++i) {
      for (const Part& across : cuts[of_[i]].across) {
        const int64_t rows = cutter_.rows_of(across.count);
        for (const Part& down : cuts[of_[i]].down) {
          all.push_back({static_cast<int64_t>(i), down.first, across.first, down.count, across.count, down.own, across.own,
                         std::min(rows, down.count)});
        }
      }
    }
    return all;
  }

 private:
  // The ways of the shape that came last: those of an earlier one whose columns are the same, or new ones.
  void add_ways() {
    const Starts& last = starts_.back();
    for (size_t i = 0; i + 1 < starts_.size(); ++i) {
      if (starts_[i].cols != last.cols || starts_[i].across != last.across) continue;
      ways_of_.push_back(ways_of_[i]);
      return;
    }
    ways_of_.push_back(ways_.size());
    ways_.push_back(ways_beside(last, cutter_));
  }

  static uint64_t hash_of(const RegionRow& region, const PieceRow* pieces) {
    uint64_t hash = 1469598103934665603u;
    const auto add = [&](int64_t value) { hash = (hash ^ static_cast<uint64_t>(value)) * 1099511628211u; };
    add(region.rows);
    add(region.cols);
    for (int64_t i = region.first; i < region.first + region.count; ++i) {
      for (const int64_t value : {pieces[i].top, pieces[i].left, pieces[i].rows, pieces[i].cols}) add(value);
    }
    return hash;
  }

  static bool alike(const RegionRow& a, const RegionRow& b, const PieceRow* pieces) {
    if (a.rows != b.rows || a.cols != b.cols || a.count != b.count) return false;
    return std::equal(pieces + a.first, pieces + a.first + a.count, pieces + b.first, [](const PieceRow& p, const PieceRow& q) {
      return p.top == q.top && p.left == q.left && p.rows == q.rows && p.cols == q.cols;
    });
  }

  const StripCutter& cutter_;
  std::vector<Starts> starts_;
  std::vector<size_t> ways_of_;
  std::vector<std::vector<Way>> ways_;
  std::vector<size_t> of_;
};

// Steps of the thread block that has most.
int64_t longest(const std::vector<int32_t>& steps, int64_t blocks) {
  const int64_t count = static_cast<int64_t>(steps.size());
  blocks = std::min(blocks, count);
  int64_t most = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    const auto first = steps.begin() + count * block / blocks, last = steps.begin() + count * (block + 1) / blocks;
    most = std::max(most, std::accumulate(first, last, int64_t{0}));
  }
  return most;
}

}  // namespace

int64_t plane_units(const StripShape& s, int64_t cols, int64_t rows) {
  const int64_t width = cols + (2 * s.steps - 1) / s.span;
  const int64_t row = s.stride * width;
  const int64_t pitch = row + ((cols - row) % 8 + 8) % 8;
  const int64_t last = (rows - 1) * s.stride + s.size - 1;
  return last / s.stride * pitch + (last % s.stride + 1) * width;
}

int64_t fetched_units(const StripShape& s, int64_t cols, int64_t rows) {
  const int64_t units = (cols - 1) * s.span + 2 * s.steps;
  return ((rows - 1) * s.stride + s.size) * (over(units, 8) * 8);
}

StripCutter::StripCutter(const StripShape& s) : shape_(s) {
  for (int64_t cols = 1; cols <= s.outputs; ++cols) {
    int64_t rows = std::min(s.outputs / cols, s.ring / cols - (s.pool_size - 1));
    while (rows > 0 && (plane_units(s, cols, rows) > s.plane || fetched_units(s, cols, rows) > s.fetched)) --rows;
    rows_.push_back(std::max<int64_t>(rows, 0));
  }
}

std::vector<StripRow> StripCutter::strips_of(const RegionRow* regions, size_t count, const PieceRow* pieces, int64_t blocks) const {
  const Shapes shapes(regions, count, pieces, *this);
  std::vector<Cut> best = shapes.cuts(1);
  std::vector<int32_t> steps = shapes.steps(best);
  int64_t least = longest(steps, blocks);
  for (const int64_t parts : kBelow) {
    if (static_cast<int64_t>(steps.size()) >= kMany * blocks) break;
    std::vector<Cut> cuts = shapes.cuts(parts);
    std::vector<int32_t> other = shapes.steps(cuts);
    const int64_t most = longest(other, blocks);
    if (most >= least) continue;
    best = std::move(cuts);
    steps = std::move(other);
    least = most;
  }
  return shapes.strips(best);
}

std::vector<StripRow> shared_out(const std::vector<StripRow>& strips, int64_t blocks, int64_t nothing) {
  const int64_t count = static_cast<int64_t>(strips.size()), each = over(count, blocks);
  std::vector<StripRow> found(static_cast<size_t>(blocks * each), {nothing, 0, 0, 1, 1, 0, 0, 1});
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = count * block / blocks, last = count * (block + 1) / blocks;  // as the kernel counts
    std::copy(strips.begin() + first, strips.begin() + last, found.begin() + block * each);
  }
  return found;
}

}  // namespace dcnn
