// All tables that the launches of a column's blocks read on a GPU, laid out in one pass and copied to the device in one
// transfer.
//
// With `again`, successive images keep their tables in the same places: each table has room for the largest so far, rounded up
// to a power of two. Two images that differ only in the contents of their tables then issue the same launches, as a CUDA graph
// requires (dcnn_fast/ops/recording.py). The number of programs is rounded up for the same reason.
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

// How one block's regions become programs. strips: cuts them for CUDA C++, where the device runs `programs` thread blocks at a
// time; null for Triton, whose tiles have the shape `tile`. filters: maps of the results. item: bytes of a value.
struct BlockShape {
  std::shared_ptr<const StripCutter> strips;
  TileShape tile;
  int64_t programs;
  int64_t filters, item;
};

// A block's tables, in memory order.
enum Table { kPrograms, kRegions, kPieces, kStores, kSources, kOutputs, kTables };

// A table's offset in the common memory, and its size in bytes.
struct Place {
  int64_t first, bytes;
};

// tables, maps, last: bytes of all tables, of the maps of all blocks but the last, and of the last block's. programs: rows of
// each block's table of programs, idle ones included. moved: whether tables have moved since the previous image.
struct Layout {
  int64_t tables, maps, last;
  std::vector<int64_t> programs;
  bool moved;
};

class ColumnTables {
 public:
  // again: whether launches will be repeated, so that tables keep their places; otherwise each table has exactly its size.
  ColumnTables(std::vector<BlockShape> blocks, bool again);

  // Lays out the tables of all blocks' regions. source: block 1's input.
  Layout lay(std::shared_ptr<const ColumnRegions> regions, const SourceRow& source);

  // Writes the tables laid out last to `to`. maps, last: device addresses of the blocks' results.
  void write(char* to, int64_t maps, int64_t last) const;

  // The places of a block's tables, by `Table`.
  const std::array<Place, kTables>& places(size_t block) const { return places_.at(block); }

 private:
  struct Block {
    std::vector<TileRow> tiles;
    std::vector<StripRow> strips;
    std::vector<SourceRow> sources;  // addresses relative to the start of the maps, except block 1's
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
