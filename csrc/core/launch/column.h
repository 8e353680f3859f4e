// All tables that the launches of a column's blocks read on a GPU, laid out in one pass into memory that is copied there at once.
//
// Tables of one image after the other lie in the same places: each has as much room as the largest that came in its turn, rounded up
// to a power of two. So two images whose tables differ in content only pose the same launches, which is what a CUDA graph needs
// (dcnn_fast/ops/recording.py). The number of programs is rounded up for the same reason.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/launch/strips.h"
#include "core/launch/tiles.h"
#include "core/plan/tables.h"
#include "core/tables.h"

namespace dcnn {

// How one block's regions become programs. strips: for CUDA C++, where the device runs `programs` thread blocks at a time; null: in
// Triton's tiles, of the shape `tile`. filters, item: maps of its results, and bytes of a value.
struct BlockShape {
  std::shared_ptr<const StripCutter> strips;
  TileShape tile;
  int64_t programs;
  int64_t filters, item;
};

// The tables of a block in the order in which they lie.
enum Table { kPrograms, kRegions, kPieces, kStores, kSources, kOutputs, kTables };

// Where a table lies in the memory of all, and the bytes that it has.
struct Place {
  int64_t first, bytes;
};

// tables, maps, last: bytes of all tables, of the maps of all blocks but the last, and of those of the last. programs: rows of each
// block's table of programs, idle ones included. moved: whether tables lie elsewhere than those of the image before.
struct Layout {
  int64_t tables, maps, last;
  std::vector<int64_t> programs;
  bool moved;
};

class ColumnTables {
 public:
  // again: whether launches are to come again, so that tables keep their places; otherwise each has the room that it needs.
  ColumnTables(std::vector<BlockShape> blocks, bool again);

  // Lay out what the regions of all blocks take. source: what block 1 reads.
  Layout lay(std::shared_ptr<const ColumnRegions> regions, const SourceRow& source);

  // Write what was laid out last to `to`. maps, last: where the blocks' results go on the device.
  void write(char* to, int64_t maps, int64_t last) const;

  // The places of a block's tables, by `Table`.
  const std::array<Place, kTables>& places(size_t block) const { return places_.at(block); }

 private:
  struct Block {
    std::vector<TileRow> tiles;
    std::vector<StripRow> strips;
    std::vector<SourceRow> sources;  // addresses from the start of the maps, but for block 1's
    std::vector<OutputRow> outputs;
  };

  std::array<int64_t, kTables> sizes(size_t block) const;
  void place(Layout* layout);

  std::vector<BlockShape> shapes_;
  bool again_;
  std::shared_ptr<const ColumnRegions> regions_;  // laid out last
  std::vector<Block> blocks_;
  std::vector<std::array<Place, kTables>> places_;
};

}  // namespace dcnn
