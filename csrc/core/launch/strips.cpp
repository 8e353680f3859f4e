#include "core/launch/strips.h"

#include <algorithm>
#include <stdexcept>
#include <unordered_map>

namespace dcnn {

namespace {

constexpr int64_t kBelow[] = {2, 3, 4, 6, 8};  // strips below each other in a region
constexpr int64_t kLeastRows = 4;              // of a strip below another, in sizes of the pool
constexpr int64_t kMany = 8;                   // strips a thread block from which on no cut makes them end at one time
constexpr int64_t kNarrowest = 8;              // columns that a strip beside another has about, at least

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

// Pool windows shared out evenly to as many parts; `extent` outputs are there.
std::vector<Part> evenly(const std::vector<int64_t>& starts, int64_t extent, int64_t pool, int64_t parts) {
  const int64_t windows = static_cast<int64_t>(starts.size());
  parts = std::min(parts, windows);
  std::vector<Part> found;
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t first = starts[static_cast<size_t>(windows * i / parts)];
    const int64_t last = starts[static_cast<size_t>(windows * (i + 1) / parts - 1)];
    found.push_back({first, std::min(last + pool, extent) - first, last - first + 1});
  }
  return found;
}

// Strips beside each other, and the rows of a step of each.
struct Beside {
  std::vector<Part> parts;
  std::vector<int64_t> steps;
};

// Every way to share a region's columns out to strips that fit.
std::vector<Beside> ways_beside(const Starts& region, const StripShape& shape) {
  std::vector<Beside> ways;
  for (int64_t count = 1; count <= std::max<int64_t>(1, over(region.cols, kNarrowest)); ++count) {
    Beside way{evenly(region.across, region.cols, shape.pool_size, count), {}};
    for (const Part& part : way.parts) way.steps.push_back(rows_of(shape, part.count));
    if (*std::min_element(way.steps.begin(), way.steps.end()) >= 1) ways.push_back(std::move(way));
  }
  return ways;
}

// Steps down all parts of a strip, by the rows of one.
int64_t steps_down(const std::vector<Part>& down, int64_t step) {
  int64_t sum = 0;
  for (const Part& part : down) sum += over(part.count, step);
  return sum;
}

// A region's strips: beside each other as many as take the fewest steps, below each other `parts`.
std::vector<StripRow> cut(const Starts& region, const std::vector<Beside>& ways, const StripShape& shape, int64_t parts) {
  const int64_t below = std::max<int64_t>(1, region.rows / (kLeastRows * shape.pool_size));
  const std::vector<Part> down = evenly(region.down, region.rows, shape.pool_size, std::min(parts, below));
  const Beside* best = nullptr;
  int64_t least = 0;
  for (const Beside& way : ways) {
    int64_t cost = 0;
    for (const int64_t step : way.steps) cost += steps_down(down, step);
    if (best == nullptr || cost < least) {
      best = &way;
      least = cost;
    }
  }
  std::vector<StripRow> strips;
  if (best == nullptr) {
    if (!region.down.empty() && !region.across.empty()) throw std::logic_error("strips: no strip of the region fits the kernel");
    return strips;  // a region without a result
  }
  for (size_t i = 0; i < best->parts.size(); ++i) {
    const Part& across = best->parts[i];
    for (const Part& part : down) {
      const int64_t step = std::min(best->steps[i], part.count);
      strips.push_back({0, part.first, across.first, part.count, across.count, part.own, across.own, step});
    }
  }
  return strips;
}

// Regions of one shape are cut alike: the shapes there are, and which of them each region has.
class Shapes {
 public:
  Shapes(const RegionRow* regions, size_t count, const PieceRow* pieces, const StripShape& shape) : of_(count) {
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
      starts_.push_back(starts_of(regions[i], pieces, shape.pool_stride));
      const bool none = starts_.back().down.empty() || starts_.back().across.empty();
      ways_.push_back(none ? std::vector<Beside>{} : ways_beside(starts_.back(), shape));
    }
  }

  // Every region's strips, at most `parts` below each other.
  std::vector<StripRow> strips(const StripShape& shape, int64_t parts) const {
    std::vector<std::vector<StripRow>> cuts;
    for (size_t i = 0; i < starts_.size(); ++i) cuts.push_back(cut(starts_[i], ways_[i], shape, parts));
    std::vector<StripRow> all;
    for (size_t i = 0; i < of_.size(); ++i) {
      for (StripRow strip : cuts[of_[i]]) {
        strip.region = static_cast<int64_t>(i);
        all.push_back(strip);
      }
    }
    return all;
  }

 private:
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

  std::vector<Starts> starts_;
  std::vector<std::vector<Beside>> ways_;
  std::vector<size_t> of_;
};

// Steps of the thread block that has most.
int64_t longest(const std::vector<StripRow>& strips, int64_t blocks) {
  const int64_t count = static_cast<int64_t>(strips.size());
  blocks = std::min(blocks, count);
  int64_t most = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t steps = 0;
    for (int64_t i = count * block / blocks; i < count * (block + 1) / blocks; ++i) {
      steps += over(strips[static_cast<size_t>(i)].rows, strips[static_cast<size_t>(i)].step);
    }
    most = std::max(most, steps);
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

int64_t rows_of(const StripShape& s, int64_t cols) {
  int64_t rows = std::min(s.outputs / cols, s.ring / cols - (s.pool_size - 1));
  while (rows > 0 && (plane_units(s, cols, rows) > s.plane || fetched_units(s, cols, rows) > s.fetched)) --rows;
  return std::max<int64_t>(rows, 0);
}

std::vector<StripRow> strips_of(const RegionRow* regions, size_t count, const PieceRow* pieces, const StripShape& shape,
                                int64_t blocks) {
  const Shapes shapes(regions, count, pieces, shape);
  std::vector<StripRow> best = shapes.strips(shape, 1);
  int64_t least = longest(best, blocks);
  for (const int64_t parts : kBelow) {
    if (static_cast<int64_t>(best.size()) >= kMany * blocks) break;
    std::vector<StripRow> strips = shapes.strips(shape, parts);
    const int64_t steps = longest(strips, blocks);
    if (steps >= least) continue;
    best = std::move(strips);
    least = steps;
  }
  return best;
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
