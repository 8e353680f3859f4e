// The tables of a list of regions: dcnn_fast/ops/region.py has the columns' meaning. All are int64; what is read as int is
// below 2**31 by `require_regions`.
#pragma once

namespace dcnn {

using Index = long long;

struct Region {
    Index source, image, window_top, window_left, window_height, window_width, top, left, rows, cols, lattice_top,
        lattice_left, first_piece, pieces;
};

struct Piece {
    Index top, left, rows, cols, first_store, stores;
};

struct Store {
    Index skip_top, skip_left, height, width, output, image, out_top, out_left;
};

// A source's address and the strides of its image, row, column and channel in elements.
struct Source {
    Index address, image, row, col, channel;
};

// An output's address, rows and columns; in memory it is [images, rows, columns, filters].
struct Output {
    Index address, rows, cols;
};

}  // namespace dcnn
