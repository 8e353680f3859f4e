#include "core/plan/overlap.h"

#include <cstddef>

namespace dcnn {

namespace {

bool same_class(const Group& a, const Group& b) {
  return a.map == b.map && a.row_residue == b.row_residue && a.col_residue == b.col_residue;
}

// Every group as one region.
SharedRegions unchanged(const Level& level) {
  SharedRegions found{level.groups, {}};
  for (size_t i = 0; i < level.phases.size(); ++i) found.pieces.push_back({level.phases[i], {i}});
  return found;
}

// `one` minus `other`, as at most four rectangles; of the two ways to cut, the one with the shorter cuts.
std::vector<Rectangle> without(const Rectangle& one, const Rectangle& other) {
  const Rectangle inner = common(one, other);
  if (inner.empty()) return {one};
  const Range above{one.rows.first, inner.rows.first - 1}, below{inner.rows.last + 1, one.rows.last};
  const Range left{one.cols.first, inner.cols.first - 1}, right{inner.cols.last + 1, one.cols.last};
  const Rectangle by_rows[] = {{above, one.cols}, {below, one.cols}, {inner.rows, left}, {inner.rows, right}};
  const Rectangle by_cols[] = {{one.rows, left}, {one.rows, right}, {above, inner.cols}, {below, inner.cols}};
  const int64_t across = !above.empty() + !below.empty(), along = !left.empty() + !right.empty();
  const int64_t row_cuts = across * one.cols.count() + along * inner.rows.count();
  const int64_t col_cuts = along * one.rows.count() + across * inner.cols.count();
  std::vector<Rectangle> rest;
  for (const Rectangle& part : row_cuts <= col_cuts ? by_rows : by_cols) {
    if (!part.empty()) rest.push_back(part);
  }
  return rest;
}

// The places where a group's results may start in any phase: a result's place is its pool window's corner.
Range starts(const Axis& axis, Range outputs) {
  return {outputs.first + axis.before * axis.pool_stride + axis.conv_before,
          outputs.last - (axis.after * axis.pool_stride + axis.pool_size - 1 + axis.conv_after)};
}

// A phase's results that start in a range of places.
Range started(const Axis& axis, Range places, int64_t phase) {
  return {ceil_div(places.first - phase, axis.pool_stride), floor_div(places.last - phase, axis.pool_stride)};
}

// Disjoint rectangles that cover the places of all groups: the largest group's whole, and the remainders of the smaller ones.
std::vector<Rectangle> places_apart(const Axis& axis, const std::vector<Group>& groups, size_t first, size_t last) {
  std::vector<Rectangle> boxes, placed;
  for (size_t i = first; i < last; ++i) {
    boxes.push_back({starts(axis, groups[i].outputs.rows), starts(axis, groups[i].outputs.cols)});
  }
  std::stable_sort(boxes.begin(), boxes.end(), [](const Rectangle& a, const Rectangle& b) { return area(a) > area(b); });
  for (const Rectangle& box : boxes) {
    std::vector<Rectangle> rest{box};
    for (const Rectangle& other : placed) {
      std::vector<Rectangle> cut;
      for (const Rectangle& part : rest) {
        const std::vector<Rectangle> left = without(part, other);
        cut.insert(cut.end(), left.begin(), left.end());
      }
      rest = std::move(cut);
    }
    placed.insert(placed.end(), rest.begin(), rest.end());
  }
  return placed;
}

// Adds a region for the results that start in `places`, with a piece for each phase that some group needs there. like: a group
// of the class. first, last: the phases of its groups.
void add_region(const Axis& axis, const Level& level, const Group& like, const Rectangle& places, size_t first, size_t last,
                SharedRegions* found) {
  const size_t number = found->regions.size(), first_piece = found->pieces.size();
  for (size_t i = first; i < last; ++i) {
    const Phase& phase = level.phases[i];
    const Rectangle mine{started(axis, places.rows, phase.row), started(axis, places.cols, phase.col)};
    const Rectangle part = common(mine, phase.results);
    if (part.empty()) continue;
    const auto same = [&](const SharedPiece& piece) { return piece.phase.row == phase.row && piece.phase.col == phase.col; };
    const auto piece = std::find_if(found->pieces.begin() + static_cast<std::ptrdiff_t>(first_piece), found->pieces.end(), same);
    if (piece == found->pieces.end()) {
      found->pieces.push_back({{number, phase.row, phase.col, part}, {i}});
    } else {
      piece->phase.results = around(piece->phase.results, part);
      piece->wanted_by.push_back(i);
    }
  }
  if (found->pieces.size() == first_piece) return;
  const auto needed = [&](const Phase& piece) {
    return Rectangle{axis.free_span(piece.results.rows).moved(piece.row), axis.free_span(piece.results.cols).moved(piece.col)};
  };
  Rectangle outputs = needed(found->pieces[first_piece].phase);
  for (size_t i = first_piece; i < found->pieces.size(); ++i) outputs = around(outputs, needed(found->pieces[i].phase));
  found->regions.push_back({like.map, like.row_residue, like.col_residue, outputs});
}

}  // namespace

SharedRegions regions_apart(const Axis& axis, const Level& level) {
  const std::vector<Group>& groups = level.groups;
  if (std::adjacent_find(groups.begin(), groups.end(), same_class) == groups.end()) return unchanged(level);
  SharedRegions found;
  for (size_t first = 0, last = 0, phase = 0, phases = 0; first < groups.size(); first = last, phase = phases) {
    while (last < groups.size() && same_class(groups[first], groups[last])) ++last;
    while (phases < level.phases.size() && level.phases[phases].group < last) ++phases;
    for (const Rectangle& places : places_apart(axis, groups, first, last)) {
      add_region(axis, level, groups[first], places, phase, phases, &found);
    }
  }
  return found;
}

}  // namespace dcnn
