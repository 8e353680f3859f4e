#include "core/launch/strips.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "core/sizes.h"

namespace dcnn {

namespace {

constexpr int64_t kBelow[] = {2, 3, 4, 6, 8};  // strips below each other in a region, to try in turn
constexpr int64_t kLeastRows = 4;              // of a strip below another, in pool sizes
constexpr int64_t kMany = 8;                   // strips per thread block, with which further cuts do not help the balance
constexpr int64_t kNarrowest = 12;             // the least average width of strips beside each other

int64_t over(int64_t count, int64_t part) { return (count + part - 1) / part; }

// Divides `count` things into `parts` even shares and calls `use` with each share's first and one past its last: share i begins
// at count * i / parts.
template <typename Use>
void for_shares(int64_t count, int64_t parts, const Use& use) {
  if (parts == 0) return;
  const int64_t each = count / parts, rest = count % parts;
  for (int64_t i = 0, first = 0, carried = 0; i < parts; ++i) {
    carried += rest;
    const int64_t more = carried >= parts ? 1 : 0;
    carried -= more * parts;
    const int64_t last = first + each + more;
    use(first, last);
    first = last;
  }
}

// A region's extents, and the rows and columns in which its pool windows start, ascending.
struct Starts {
  int64_t rows, cols;
  std::vector<int64_t> down, across;
};

// A set of numbers from 0 to `extent` - 1.
class Marks {
 public:
  void reset(int64_t extent) { words_.assign(static_cast<size_t>(over(extent, 64)), 0); }

  void add(int64_t value) { words_[static_cast<size_t>(value / 64)] |= uint64_t{1} << (value % 64); }

  std::vector<int64_t> in_order() const {
    std::vector<int64_t> values;
    for (size_t i = 0; i < words_.size(); ++i) {
      for (uint64_t rest = words_[i]; rest != 0; rest &= rest - 1) {
        values.push_back(static_cast<int64_t>(64 * i) + __builtin_ctzll(rest));
      }
    }
    return values;
  }

 private:
  std::vector<uint64_t> words_;
};

Starts starts_of(const RegionRow& region, const PieceRow* pieces, int64_t stride, Marks* marks) {
  const auto along = [&](int64_t extent, int64_t PieceRow::*first, int64_t PieceRow::*count) {
    marks->reset(extent);
    for (int64_t i = region.first; i < region.first + region.count; ++i) {
      for (int64_t k = 0; k < pieces[i].*count; ++k) marks->add(pieces[i].*first + stride * k);
    }
    return marks->in_order();
  };
  return {region.rows, region.cols, along(region.rows, &PieceRow::top, &PieceRow::rows),
          along(region.cols, &PieceRow::left, &PieceRow::cols)};
}

// A strip along one axis: first output, number of outputs, and the number of leading outputs in which its pool windows start.
struct Part {
  int64_t first, count, own;
};

// Divides the pool windows evenly into `parts` and calls `use` with each part; extent: all outputs along the axis.
template <typename Use>
void for_evenly(const std::vector<int64_t>& starts, int64_t extent, int64_t pool, int64_t parts, const Use& use) {
  const int64_t windows = static_cast<int64_t>(starts.size());
  for_shares(windows, std::min(parts, windows), [&](int64_t from, int64_t to) {
    const int64_t first = starts[static_cast<size_t>(from)], last = starts[static_cast<size_t>(to - 1)];
    use(Part{first, std::min(last + pool, extent) - first, last - first + 1});
  });
}

// Distinct numbers and how often each occurs. Meant for few distinct ones.
class Counts {
 public:
  void clear() { found_.clear(); }

  void add(int64_t value) {
    const auto same = std::find_if(found_.begin(), found_.end(), [&](const auto& known) { return known.first == value; });
    if (same == found_.end()) {
      found_.emplace_back(value, 1);
    } else {
      ++same->second;
    }
  }

  auto begin() const { return found_.begin(); }
  auto end() const { return found_.end(); }

 private:
  std::vector<std::pair<int64_t, int64_t>> found_;
};

// A division of a region's columns into strips beside each other: the number of strips, and how many of them have each number
// of rows per step.
struct Way {
  int64_t parts;
  Counts steps;
};

// Every division whose strips fit.
std::vector<Way> ways_beside(const Starts& region, const StripCutter& cutter) {
  const int64_t pool = cutter.shape().pool_size;
  std::vector<Way> ways;
  for (int64_t count = 1; count <= std::max<int64_t>(1, over(region.cols, kNarrowest)); ++count) {
    Way way{count, {}};
    int64_t least = cutter.shape().outputs;
    for_evenly(region.across, region.cols, pool, count, [&](const Part& part) {
      const int64_t step = cutter.rows_of(part.count);
      least = std::min(least, step);
      way.steps.add(step);
    });
    if (least >= 1) ways.push_back(std::move(way));
  }
  return ways;
}

// A region's cut: the number of strips below each other, and beside each other. Both are 0 for a region without results.
struct Cut {
  int64_t down = 0, across = 0;
};

// The number of strips beside each other that takes the fewest steps with `down` strips below each other.
int64_t best_across(const Starts& region, const std::vector<Way>& ways, int64_t pool, int64_t down, Counts* rows) {
  rows->clear();
  for_evenly(region.down, region.rows, pool, down, [&](const Part& part) { rows->add(part.count); });
  const Way* best = nullptr;
  int64_t least = 0;
  for (const Way& way : ways) {
    int64_t cost = 0;
    for (const auto& [step, strips] : way.steps) {
      for (const auto& [count, parts] : *rows) cost += strips * parts * over(count, step);
    }
    if (best == nullptr || cost < least) {
      best = &way;
      least = cost;
    }
  }
  if (best == nullptr) throw std::logic_error("strips: no strip of the region fits the kernel");
  return best->parts;
}

// Regions of one shape are cut alike: the distinct shapes, and each region's shape.
class Shapes {
 public:
  Shapes(const RegionRow* regions, size_t count, const PieceRow* pieces, const StripCutter& cutter) : cutter_(cutter), of_(count) {
    std::unordered_multimap<uint64_t, size_t> known;  // the first region of each shape
    Marks marks;
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
      starts_.push_back(starts_of(regions[i], pieces, cutter.shape().pool_stride, &marks));
      add_ways();
    }
  }

  // Cuts each shape anew, into at most `parts` strips below each other. Returns whether any cut changed.
  bool cut(int64_t parts, std::vector<Cut>* cuts) const {
    const int64_t pool = cutter_.shape().pool_size;
    bool changed = false;
    Counts rows;
    cuts->resize(starts_.size());
    for (size_t i = 0; i < starts_.size(); ++i) {
      const Starts& region = starts_[i];
      if (region.down.empty() || region.across.empty()) continue;
      const int64_t most = std::max<int64_t>(1, region.rows / (kLeastRows * pool));
      const int64_t down = std::min({parts, most, static_cast<int64_t>(region.down.size())});
      if (down == (*cuts)[i].down) continue;
      (*cuts)[i] = {down, best_across(region, ways_[ways_of_[i]], pool, down, &rows)};
      changed = true;
    }
    return changed;
  }

  // The steps of every strip of all regions, in order.
  void steps(const std::vector<Cut>& cuts, std::vector<int32_t>* all) const {
    all->clear();
    std::vector<std::pair<size_t, size_t>> known(cuts.size());  // position and number of the steps of a shape's first region
    for (const size_t shape : of_) {
      auto& [first, count] = known[shape];
      if (count > 0) {
        all->resize(all->size() + count);
        std::copy_n(all->begin() + static_cast<int64_t>(first), count, all->end() - static_cast<int64_t>(count));
        continue;
      }
      first = all->size();
      for_strips(shape, cuts[shape], [&](const Part& down, const Part&, int64_t rows) {
        all->push_back(static_cast<int32_t>(over(down.count, rows)));
      });
      count = all->size() - first;
    }
  }

  // Every region's strips, `count` of them.
  std::vector<StripRow> strips(const std::vector<Cut>& cuts, size_t count) const {
    std::vector<StripRow> all;
    all.reserve(count);
    for (size_t i = 0; i < of_.size(); ++i) {
      for_strips(of_[i], cuts[of_[i]], [&](const Part& down, const Part& across, int64_t rows) {
        all.push_back({static_cast<int64_t>(i), down.first, across.first, down.count, across.count, down.own, across.own, rows});
      });
    }
    return all;
  }

 private:
  // Calls `use` with each strip of a shape: its rows, its columns and its rows per step. From left to right, then from the top.
  template <typename Use>
  void for_strips(size_t shape, const Cut& cut, const Use& use) const {
    const Starts& region = starts_[shape];
    const int64_t pool = cutter_.shape().pool_size;
    for_evenly(region.across, region.cols, pool, cut.across, [&](const Part& across) {
      const int64_t rows = cutter_.rows_of(across.count);
      for_evenly(region.down, region.rows, pool, cut.down, [&](const Part& down) { use(down, across, std::min(rows, down.count)); });
    });
  }

  // Adds the last shape's ways: those of an earlier shape with the same columns, or new ones.
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

// Steps of the thread block that has the most; `enough` or more once any thread block reaches it.
int64_t longest(const std::vector<int32_t>& steps, int64_t blocks, int64_t enough) {
  const int64_t count = static_cast<int64_t>(steps.size());
  blocks = std::min(blocks, count);
  int64_t most = 0;
  for_shares(count, blocks, [&](int64_t first, int64_t last) {
    if (most < enough) most = std::max(most, std::accumulate(steps.begin() + first, steps.begin() + last, int64_t{0}));
  });
  return most;
}

}  // namespace

int64_t plane_units(const StripShape& s, int64_t cols, int64_t rows) {
  const int64_t width = cols + (2 * s.steps - 1) / s.span;
  const int64_t row = product_at_most(s.stride, width);
  const int64_t pitch = sum_at_most(row, ((cols - row) % 8 + 8) % 8);
  const int64_t last = (rows - 1) * s.stride + s.size - 1;
  return sum_at_most(product_at_most(last / s.stride, pitch), product_at_most(last % s.stride + 1, width));
}

int64_t fetched_units(const StripShape& s, int64_t cols, int64_t rows) {
  const int64_t units = (cols - 1) * s.span + 2 * s.steps;
  return product_at_most((rows - 1) * s.stride + s.size, over(units, 8) * 8);
}

StripCutter::StripCutter(const StripShape& s) : shape_(s) {
  for (int64_t cols = 1; cols <= std::min(s.outputs, s.most_cols); ++cols) {
    int64_t rows = std::min({s.outputs / cols, s.ring / cols - (s.pool_size - 1), s.most_rows});
    while (rows > 0 && (plane_units(s, cols, rows) > s.plane || fetched_units(s, cols, rows) > s.fetched)) --rows;
    rows_.push_back(std::max<int64_t>(rows, 0));
  }
}

std::vector<StripRow> StripCutter::strips_of(const RegionRow* regions, size_t count, const PieceRow* pieces, int64_t blocks) const {
  const Shapes shapes(regions, count, pieces, *this);
  std::vector<Cut> cuts;
  std::vector<int32_t> steps;
  shapes.cut(1, &cuts);
  shapes.steps(cuts, &steps);
  std::vector<Cut> best = cuts;
  int64_t least = longest(steps, blocks, std::numeric_limits<int64_t>::max());
  const int64_t total = std::accumulate(steps.begin(), steps.end(), int64_t{0});
  const int64_t ideal = over(total, blocks);  // strips below each other take no fewer steps in total
  int64_t strips = static_cast<int64_t>(steps.size());
  for (const int64_t parts : kBelow) {
    if (strips >= kMany * blocks || least <= ideal) break;
    if (!shapes.cut(parts, &cuts)) break;
    shapes.steps(cuts, &steps);
    const int64_t most = longest(steps, blocks, least);
    if (most >= least) continue;
    best = cuts;
    strips = static_cast<int64_t>(steps.size());
    least = most;
  }
  return shapes.strips(best, static_cast<size_t>(strips));
}

std::vector<StripRow> shared_out(const std::vector<StripRow>& strips, int64_t blocks, int64_t nothing) {
  const int64_t count = static_cast<int64_t>(strips.size()), each = over(count, blocks);
  std::vector<StripRow> found(static_cast<size_t>(blocks * each), {nothing, 0, 0, 1, 1, 0, 0, 1});
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = count * block / blocks, last = count * (block + 1) / blocks;  // as the kernel divides
    std::copy(strips.begin() + first, strips.begin() + last, found.begin() + block * each);
  }
  return found;
}

}  // namespace dcnn
