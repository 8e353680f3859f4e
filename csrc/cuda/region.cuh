// The columns of the tables of regions, pieces and stores: dcnn_fast/ops/region.py has what they mean.
#pragma once

namespace region {
enum Column {
    source, image, window_top, window_left, window_height, window_width, top, left, rows, cols, lattice_top, lattice_left,
    first_piece, piece_count, columns
};
}  // namespace region

namespace piece {
enum Column { top, left, rows, cols, first_store, store_count, columns };
}  // namespace piece

namespace store {
enum Column { skip_top, skip_left, height, width, output, image, out_top, out_left, columns };
}  // namespace store
