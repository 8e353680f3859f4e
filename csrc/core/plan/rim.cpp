#include "core/plan/rim.h"

namespace dcnn {

namespace {

// Sets the source of a window's own region: in block 1 the window, a rectangle of the plane; later the window's image.
void set_source(size_t block, const Axis& axis, int64_t image, const Window& window, RegionRow* row) {
  row->window_height = axis.extent;
  row->window_width = axis.extent;
  if (block > 0) {
    row->image = image;
  } else if (axis.open) {  // pixels above and left of the window may be read
    row->window_height += window.top;
    row->window_width += window.left;
  } else {
    row->window_top = window.top;
    row->window_left = window.left;
  }
}

// Adds the region of the results of two spans. corner: the origin of the window in its source.
void add_region(size_t block, const Axis& axis, int64_t image, const Window& corner, const Along& down, const Along& across,
                const Span& rows, const Span& cols, BlockTables* tables) {
  RegionRow& region = tables->add_region();
  set_source(block, axis, image, corner, &region);
  region.top = rows.outputs.first * axis.stride - axis.padding + corner.top;
  region.left = cols.outputs.first * axis.stride - axis.padding + corner.left;
  region.rows = rows.outputs.count();
  region.cols = cols.outputs.count();
  region.lattice_top = down.lattice + rows.outputs.first;
  region.lattice_left = across.lattice + cols.outputs.first;

  PieceRow& piece = tables->add_piece();
  piece.top = rows.pool - rows.outputs.first;
  piece.left = cols.pool - cols.outputs.first;
  piece.rows = rows.rows;
  piece.cols = cols.rows;

  StoreRow& store = tables->add_store();
  store.skip_top = rows.skip;
  store.skip_left = cols.skip;
  store.height = rows.results.count();
  store.width = cols.results.count();
  store.image = image;
  store.out_top = rows.results.first;
  store.out_left = cols.results.first;
}

}  // namespace

void add_rims(size_t block, const Axis& axis, const Windows& windows, const Level& level, BlockTables* tables) {
  for (size_t i = 0; i < windows.count(); ++i) {
    const Along &down = windows.down(block, i), &across = windows.across(block, i);
    const Window corner = block == 0 ? windows.at(i) : Window{0, 0};
    for (const Parts& part : parts_of(level.phase_of[i] == kNone)) {
      const Range rows = down.results(part.rows, axis.out), cols = across.results(part.cols, axis.out);
      if (rows.empty() || cols.empty()) continue;
      add_region(block, axis, static_cast<int64_t>(i), corner, down, across, axis.span(rows), axis.span(cols), tables);
    }
  }
}

}  // namespace dcnn
