#include "core/plan/shared.h"

#include "core/plan/overlap.h"

namespace dcnn {

namespace {

// A rectangle of a phase's results to store, on the lattice, and the destination of its corner.
struct Wanted {
  Rectangle results;
  int64_t output, image, row, col;
};

// A part of a window's shared results, stored in the window's own image.
Wanted own_part(const Axis& axis, size_t window, const Along& down, const Along& across, Range rows, Range cols) {
  const int64_t row = floor_div(down.lattice, axis.pool_stride), col = floor_div(across.lattice, axis.pool_stride);
  return {{rows.moved(row), cols.moved(col)}, 0, static_cast<int64_t>(window), rows.first, cols.first};
}

// The parts of each sharing window that are read from its own image, phase after phase: the frame that the next block's rim
// reads, or everything where the window does not share there.
std::vector<std::vector<Wanted>> wanted_in_windows(size_t block, const Axis& axis, const Windows& windows, const Level& level,
                                                   const Level* next) {
  std::vector<std::vector<Wanted>> wanted(level.phases.size());
  for (const size_t i : level.members) {
    const Along &down = windows.down(block, i), &across = windows.across(block, i);
    const bool alone = next == nullptr || next->phase_of[i] == kNone;
    for (const Parts& part : parts_of(alone)) {
      const Range rows = down.frame(part.rows), cols = across.frame(part.cols);
      if (rows.empty() || cols.empty()) continue;
      wanted[static_cast<size_t>(level.phase_of[i])].push_back(own_part(axis, i, down, across, rows, cols));
    }
  }
  return wanted;
}

// Adds a store of the wanted results that the last piece contains. piece: its results, without a norm's halo.
void add_wanted(const Axis& axis, const Rectangle& piece, const Wanted& wanted, BlockTables* tables) {
  const Rectangle part = common(piece, wanted.results);
  if (part.empty()) return;
  StoreRow& store = tables->add_store();
  store.skip_top = part.rows.first - piece.rows.first + axis.before;
  store.skip_left = part.cols.first - piece.cols.first + axis.before;
  store.height = part.rows.count();
  store.width = part.cols.count();
  store.output = wanted.output;
  store.image = wanted.image;
  store.out_top = wanted.row + part.rows.first - wanted.results.rows.first;
  store.out_left = wanted.col + part.cols.first - wanted.results.cols.first;
}

void add_region(const Axis& axis, const Group& group, const SourceMap& map, BlockTables* tables) {
  RegionRow& row = tables->add_region();
  row.source = map.source;
  row.window_height = map.height;
  row.window_width = map.width;
  row.top = group.outputs.rows.first * axis.stride + group.row_residue - axis.padding - map.row;
  row.left = group.outputs.cols.first * axis.stride + group.col_residue - axis.padding - map.col;
  row.rows = group.outputs.rows.count();
  row.cols = group.outputs.cols.count();
  row.lattice_top = group.outputs.rows.first;
  row.lattice_left = group.outputs.cols.first;
}

// region: the piece's owner.
void add_piece(const Axis& axis, const Group& region, const Phase& phase, BlockTables* tables) {
  PieceRow& row = tables->add_piece();
  const Rectangle& results = phase.results;
  row.top = (results.rows.first - axis.before) * axis.pool_stride + phase.row - region.outputs.rows.first;
  row.left = (results.cols.first - axis.before) * axis.pool_stride + phase.col - region.outputs.cols.first;
  row.rows = results.rows.count() + axis.before + axis.after;
  row.cols = results.cols.count() + axis.before + axis.after;
}

}  // namespace

std::vector<SourceMap> maps_of(const Level& level, const Level* next) {
  std::vector<SourceMap> maps;
  for (const Phase& phase : level.phases) {
    const Rectangle& r = phase.results;
    maps.push_back({kNone, r.rows.first, r.cols.first, r.rows.count(), r.cols.count()});
  }
  if (next == nullptr) return maps;
  for (const Group& group : next->groups) maps[static_cast<size_t>(group.map)].source = 0;
  int64_t outputs = 1;
  for (SourceMap& map : maps) {
    if (map.source != kNone) map.source = outputs++;
  }
  return maps;
}

void add_shared(size_t block, const Axis& axis, const Windows& windows, const Level& level, const std::vector<SourceMap>& sources,
                const std::vector<SourceMap>& maps, const Level* next, BlockTables* tables) {
  const SharedRegions shared = regions_apart(axis, level);
  const std::vector<std::vector<Wanted>> in_windows = wanted_in_windows(block, axis, windows, level, next);
  size_t piece = 0;
  for (size_t i = 0; i < shared.regions.size(); ++i) {
    const Group& region = shared.regions[i];
    add_region(axis, region, sources[static_cast<size_t>(region.map)], tables);
    for (; piece < shared.pieces.size() && shared.pieces[piece].phase.group == i; ++piece) {
      const Phase& phase = shared.pieces[piece].phase;
      add_piece(axis, region, phase, tables);
      for (const size_t of : shared.pieces[piece].wanted_by) {
        if (maps[of].source != kNone) add_wanted(axis, phase.results, {level.phases[of].results, maps[of].source, 0, 0, 0}, tables);
      }
      for (const size_t of : shared.pieces[piece].wanted_by) {
        for (const Wanted& wanted : in_windows[of]) add_wanted(axis, phase.results, wanted, tables);
      }
    }
  }
}

}  // namespace dcnn
