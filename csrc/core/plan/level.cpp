#include "core/plan/level.h"

#include <cstddef>
#include <iterator>
#include <tuple>

namespace dcnn {

namespace {

constexpr double kLeastSaved = 0.005;  // share of the column's cost by brute force: about the time of planning a block
constexpr double kAlways = 1e30;       // a window's saving by any sharing, where everything is to be shared

// The keys of sharing: windows of one class differ at most in their phase.
using Class = std::tuple<int64_t, int64_t, int64_t>;  // map, residues
using Kind = std::tuple<Class, int64_t, int64_t>;     // and phases

Kind kind_of(int64_t map, const Along& down, const Along& across) {
  return {{map, down.residue, across.residue}, down.phase, across.phase};
}

// The windows that may share in one block, sorted by class, then by phase; empty where the savings are too small.
struct Candidates {
  std::vector<Kind> kinds;
  std::vector<Candidate> windows;
};

Candidates candidates_of(size_t block, const Windows& windows, const std::vector<int64_t>& maps, const std::vector<double>& saved,
                         double least) {
  std::vector<std::pair<Kind, size_t>> order;
  order.reserve(windows.count());
  double total = 0.0;
  for (size_t i = 0; i < windows.count(); ++i) {
    if (maps[i] == kNone || !(saved[i] > 0)) continue;
    order.push_back({kind_of(maps[i], windows.down(block, i), windows.across(block, i)), i});
    total += saved[i];
  }
  Candidates found;
  if (total < least) return found;
  std::sort(order.begin(), order.end());
  found.kinds.reserve(order.size());
  found.windows.reserve(order.size());
  for (const auto& [kind, i] : order) {
    const Rectangle outputs{windows.down(block, i).shared_outputs, windows.across(block, i).shared_outputs};
    found.kinds.push_back(kind);
    found.windows.push_back({i, outputs, saved[i]});
  }
  return found;
}

// Adds a group of windows of one class, sorted by phase, and its phases.
void add_group(size_t block, const Windows& windows, const Kind& kind, const std::vector<Candidate>& group, Level* level) {
  const auto [map, row_residue, col_residue] = std::get<0>(kind);
  level->groups.push_back({map, row_residue, col_residue, group[0].outputs});
  Rectangle& outputs = level->groups.back().outputs;
  const size_t number = level->groups.size() - 1, first_phase = level->phases.size();
  for (const Candidate& candidate : group) {
    const Along &down = windows.down(block, candidate.window), &across = windows.across(block, candidate.window);
    const Rectangle results{down.shared_results, across.shared_results};
    outputs = around(outputs, candidate.outputs);
    if (level->phases.size() == first_phase || level->phases.back().row != down.phase || level->phases.back().col != across.phase) {
      level->phases.push_back({number, down.phase, across.phase, results});
    }
    Phase& phase = level->phases.back();
    phase.results = around(phase.results, results);
    level->members.push_back(candidate.window);
    level->phase_of[candidate.window] = static_cast<int64_t>(level->phases.size()) - 1;
  }
}

// maps: the map that each window would read, kNone for none. saved: each window's saving. least: the least saving worth sharing
// a block.
Level level_of(size_t block, const Windows& windows, const BlockCost& cost, const std::vector<int64_t>& maps,
               const std::vector<double>& saved, double least) {
  Level level;
  level.phase_of.assign(windows.count(), kNone);
  const Candidates all = candidates_of(block, windows, maps, saved, least);
  for (size_t start = 0, end = 0; start < all.kinds.size(); start = end) {
    const Kind& kind = all.kinds[start];
    while (end < all.kinds.size() && std::get<0>(all.kinds[end]) == std::get<0>(kind)) ++end;
    const std::vector<Candidate> same(all.windows.begin() + static_cast<std::ptrdiff_t>(start),
                                      all.windows.begin() + static_cast<std::ptrdiff_t>(end));
    for (const std::vector<size_t>& numbers : groups_of(same, cost)) {
      std::vector<Candidate> group;
      for (const size_t i : numbers) group.push_back(same[i]);
      add_group(block, windows, kind, group, &level);
    }
  }
  return level;
}

}  // namespace

PartsList parts_of(bool alone) {
  static constexpr Parts whole[] = {{kAll, kAll}};
  static constexpr Parts rim[] = {{kBefore, kAll}, {kAfter, kAll}, {kShared, kBefore}, {kShared, kAfter}};
  return alone ? PartsList{std::begin(whole), std::end(whole)} : PartsList{std::begin(rim), std::end(rim)};
}

std::vector<Level> levels_of(const std::vector<BlockCost>& costs, const Windows& windows, bool always) {
  std::vector<std::vector<double>> saved(costs.size());
  double whole = 0.0;
  for (size_t block = 0; block < costs.size(); ++block) {
    saved[block].reserve(windows.count());
    for (size_t i = 0; i < windows.count(); ++i) {
      const Saving saving = saving_of(costs[block], windows.down(block, i), windows.across(block, i));
      const bool shares = !windows.down(block, i).shared.empty() && !windows.across(block, i).shared.empty();
      whole += always ? kAlways : saving.whole;
      saved[block].push_back(always && shares ? kAlways : saving.saved);
    }
  }
  std::vector<Level> levels;
  std::vector<int64_t> maps(windows.count(), 0);
  for (size_t block = 0; block < costs.size(); ++block) {
    levels.push_back(level_of(block, windows, costs[block], maps, saved[block], kLeastSaved * whole));
    maps = levels.back().phase_of;
  }
  return levels;
}

}  // namespace dcnn
