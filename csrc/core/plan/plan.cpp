#include "core/plan/plan.h"

#include <cmath>
#include <numeric>
#include <stdexcept>

#include "core/plan/rim.h"
#include "core/plan/shared.h"

namespace dcnn {

namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // as for the tables' values, so that no sum overflows

void require_inputs(const ColumnShape& column, const std::vector<Window>& windows, const PlaneShape& plane,
                    const PlanOptions& options) {
  require_column(column);
  if (plane.rows < 1 || plane.cols < 1 || plane.rows > kMost || plane.cols > kMost) {
    throw std::invalid_argument("plan: the plane must have 1 to 2**31 - 1 rows and columns");
  }
  for (const Window& window : windows) {
    if (window.top < 0 || window.left < 0 || window.top > plane.rows - column.window || window.left > plane.cols - column.window) {
      throw std::invalid_argument("plan: every window must lie in its plane");
    }
  }
  if (!std::isfinite(options.macs_per_byte) || options.macs_per_byte < 0) {
    throw std::invalid_argument("plan: the price of a byte must be a finite number, not negative");
  }
}

// The distinct windows, by row and column, and each window's index among them.
std::vector<Window> distinct(const std::vector<Window>& windows, std::vector<int64_t>* window_of) {
  std::vector<size_t> order(windows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto before = [&](size_t a, size_t b) {
    return windows[a].top != windows[b].top ? windows[a].top < windows[b].top : windows[a].left < windows[b].left;
  };
  std::sort(order.begin(), order.end(), before);
  std::vector<Window> found;
  window_of->resize(windows.size());
  for (const size_t i : order) {
    const Window& window = windows[i];
    if (found.empty() || found.back().top != window.top || found.back().left != window.left) found.push_back(window);
    (*window_of)[i] = static_cast<int64_t>(found.size()) - 1;
  }
  return found;
}

}  // namespace

Plan plan_of(const ColumnShape& column, const std::vector<Window>& windows, const PlaneShape& plane, const PlanOptions& options) {
  require_inputs(column, windows, plane, options);
  Plan plan{};
  const std::vector<BlockCost> costs = costs_of(column, options.macs_per_byte);
  const Windows places(axes_of(column), distinct(windows, &plan.window_of));
  const std::vector<Level> levels = levels_of(costs, places, options.always);
  std::vector<SourceMap> sources{{0, 0, 0, plane.rows, plane.cols}};
  for (size_t block = 0; block < levels.size(); ++block) {
    const Axis& axis = costs[block].axis;
    const Level& level = levels[block];
    const Level* next = block + 1 < levels.size() ? &levels[block + 1] : nullptr;
    std::vector<SourceMap> maps = maps_of(level, next);
    BlockTables tables;
    tables.reserve(4 * places.count() + level.groups.size());  // four strips of each rim
    tables.outputs.push_back({static_cast<int64_t>(places.count()), axis.out, axis.out});
    for (const SourceMap& map : maps) {
      if (map.source != kNone) tables.outputs.push_back({1, map.height, map.width});
    }
    add_shared(block, axis, places, level, sources, maps, next, &tables);
    add_rims(block, axis, places, level, &tables);
    plan.shares = plan.shares || !level.members.empty();
    plan.blocks.push_back(std::move(tables));
    sources = std::move(maps);
  }
  return plan;
}

}  // namespace dcnn
