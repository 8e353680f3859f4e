#include "core/regions.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace dcnn {

namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // bound of every value, so that no sum or product of two overflows

// The names of a record's fields, for messages.
template <typename Row>
struct Field {
  const char* name;
  int64_t Row::*value;
};

constexpr Field<RegionRow> kRegionFields[] = {
    {"source", &RegionRow::source},
    {"image", &RegionRow::image},
    {"window_top", &RegionRow::window_top},
    {"window_left", &RegionRow::window_left},
    {"window_height", &RegionRow::window_height},
    {"window_width", &RegionRow::window_width},
    {"top", &RegionRow::top},
    {"left", &RegionRow::left},
    {"rows", &RegionRow::rows},
    {"cols", &RegionRow::cols},
    {"lattice_top", &RegionRow::lattice_top},
    {"lattice_left", &RegionRow::lattice_left},
    {"first", &RegionRow::first},
    {"count", &RegionRow::count},
};
constexpr Field<PieceRow> kPieceFields[] = {
    {"top", &PieceRow::top},   {"left", &PieceRow::left},   {"rows", &PieceRow::rows},
    {"cols", &PieceRow::cols}, {"first", &PieceRow::first}, {"count", &PieceRow::count},
};
constexpr Field<StoreRow> kStoreFields[] = {
    {"skip_top", &StoreRow::skip_top}, {"skip_left", &StoreRow::skip_left}, {"height", &StoreRow::height},
    {"width", &StoreRow::width},       {"output", &StoreRow::output},       {"image", &StoreRow::image},
    {"out_top", &StoreRow::out_top},   {"out_left", &StoreRow::out_left},
};

template <typename Row, size_t N>
constexpr bool all_fields(const Field<Row> (&)[N]) {
  return N * sizeof(int64_t) == sizeof(Row);
}
static_assert(all_fields(kRegionFields) && all_fields(kPieceFields) && all_fields(kStoreFields), "every field has its name");

// Formats a row like a Python dict.
template <typename Row, size_t N>
std::string printed(const Row& row, const Field<Row> (&fields)[N]) {
  std::string text = "{";
  for (const Field<Row>& field : fields) {
    text += std::string(text.size() > 1 ? ", " : "") + "'" + field.name + "': " + std::to_string(row.*field.value);
  }
  return text + "}";
}

bool within(int64_t value, int64_t count) { return value >= 0 && value < count; }

// Whether `count` places from `first` on lie within `all`.
bool within(int64_t first, int64_t count, int64_t all) { return first >= 0 && count >= 0 && first + count <= all; }

// A broken rule and its number; rules are checked in the order of their numbers.
struct Broken {
  int number;
  std::string rule;
};
const int kNone = 1 << 16;

Broken broken(const RegionRow& r, const RegionGeometry& g, const std::vector<ImagesShape>& sources, int64_t pieces) {
  const auto count = static_cast<int64_t>(sources.size());
  if (!within(r.source, count)) return {0, "source must be 0 to " + std::to_string(count - 1)};
  const ImagesShape& source = sources[static_cast<size_t>(r.source)];
  if (!within(r.image, source.images)) return {1, "image must lie in its source"};
  if (r.window_height < 1 || r.window_width < 1 || !within(r.window_top, r.window_height, source.rows) ||
      !within(r.window_left, r.window_width, source.cols)) {
    return {2, "window must lie in its source"};
  }
  if (r.rows < 1 || r.cols < 1) return {3, "rows and cols must be at least 1"};
  if (r.top < r.window_top - g.padding || r.left < r.window_left - g.padding) {
    return {4, "top and left must not pass the window by more than the padding " + std::to_string(g.padding)};
  }
  const int64_t past = g.padding + (g.round_up ? g.stride - 1 : 0);
  const int64_t bottom = r.top + (r.rows - 1) * g.stride + g.size, right = r.left + (r.cols - 1) * g.stride + g.size;
  if (bottom > r.window_top + r.window_height + past || right > r.window_left + r.window_width + past) {
    return {5, "the last receptive field must not pass the window by more than padding " + std::to_string(g.padding) +
                   " and, rounding up, stride - 1"};
  }
  if (!within(r.first, r.count, pieces)) return {6, "pieces must lie in the table of " + std::to_string(pieces)};
  return {kNone, {}};
}

Broken broken(const PieceRow& p, const RegionRow& owner, const RegionGeometry& g, int64_t stores) {
  if (p.rows < 1 || p.cols < 1) return {0, "rows and cols must be at least 1"};
  const int64_t last_row = p.top + (p.rows - 1) * g.pool_stride, last_col = p.left + (p.cols - 1) * g.pool_stride;
  if (p.top < 0 || p.left < 0 || last_row >= owner.rows || last_col >= owner.cols) {
    return {1, "every pool window must start inside its region"};
  }
  if (!within(p.first, p.count, stores)) return {2, "stores must lie in the table of " + std::to_string(stores)};
  return {kNone, {}};
}

Broken broken(const StoreRow& s, const PieceRow& owner, const std::vector<ImagesShape>& outputs) {
  if (s.height < 1 || s.width < 1) return {0, "height and width must be at least 1"};
  if (!within(s.skip_top, s.height, owner.rows) || !within(s.skip_left, s.width, owner.cols)) {
    return {1, "the rectangle must lie in its piece"};
  }
  const auto count = static_cast<int64_t>(outputs.size());
  if (!within(s.output, count)) return {2, "output must be 0 to " + std::to_string(count - 1)};
  const ImagesShape& output = outputs[static_cast<size_t>(s.output)];
  if (!within(s.image, output.images) || !within(s.out_top, s.height, output.rows) || !within(s.out_left, s.width, output.cols)) {
    return {3, "the rectangle must lie in its output"};
  }
  return {kNone, {}};
}

// Keeps the first row that breaks the earliest rule, and throws for it at the end.
template <typename Row, size_t N>
class Judge {
 public:
  Judge(const char* kind, const Field<Row> (&fields)[N]) : kind_(kind), fields_(fields) {}

  void see(const Row& row, Broken found) {
    if (found.number < worst_.number) {
      worst_ = std::move(found);
      row_ = row;
      place_ = seen_;
    }
    ++seen_;
  }

  void decide() const {
    if (worst_.number == kNone) return;
    throw std::invalid_argument("regions: " + std::string(kind_) + " " + std::to_string(place_) + ": " + worst_.rule + ", got " +
                                printed(row_, fields_));
  }

 private:
  const char* kind_;
  const Field<Row> (&fields_)[N];
  Broken worst_{kNone, {}};
  Row row_{};
  int64_t place_ = 0, seen_ = 0;
};

template <typename Row>
void require_small(const char* name, const Rows<Row>& table) {
  static_assert(sizeof(Row) % sizeof(int64_t) == 0, "a row is nothing but such integers");
  constexpr auto kFields = static_cast<int64_t>(sizeof(Row) / sizeof(int64_t));
  const auto* values = reinterpret_cast<const int64_t*>(table.rows);
  bool large = false;
  for (int64_t i = 0; i < table.count * kFields; ++i) large |= values[i] > kMost || values[i] < -kMost;
  if (large) throw std::invalid_argument("regions: the table of " + std::string(name) + " must hold values of less than 2**31");
}

// Small tables can name many rows: each region all pieces, each piece all stores.
void require_few(const char* kind, int64_t named) {
  constexpr int64_t kMostNamed = int64_t{1} << 26;
  if (named > kMostNamed) throw std::invalid_argument("regions: they must name at most 2**26 " + std::string(kind));
}

bool meet(const StoreRow& a, const StoreRow& b) {
  return a.output == b.output && a.image == b.image && a.out_top < b.out_top + b.height && b.out_top < a.out_top + a.height &&
         a.out_left < b.out_left + b.width && b.out_left < a.out_left + a.width;
}

// Whether any two stores of one image overlap. stores: sorted by their tops.
bool any_meet(const StoreRow* const* stores, size_t count) {
  constexpr size_t kFew = 16;
  if (count <= kFew) {
    for (size_t i = 1; i < count; ++i) {
      for (size_t k = 0; k < i; ++k) {
        if (meet(*stores[k], *stores[i])) return true;
      }
    }
    return false;
  }
  std::map<int64_t, const StoreRow*> beside;  // by left edge; no two share a column, but some may have ended above
  for (size_t i = 0; i < count; ++i) {
    const StoreRow& store = *stores[i];
    auto at = beside.lower_bound(store.out_left);
    if (at != beside.begin() && std::prev(at)->second->out_left + std::prev(at)->second->width > store.out_left) --at;
    while (at != beside.end() && at->first < store.out_left + store.width) {
      if (meet(*at->second, store)) return true;
      at = beside.erase(at);
    }
    beside.emplace(store.out_left, &store);
  }
  return false;
}

// Whether any two of the first `count` stores overlap.
bool any_meet(const std::vector<const StoreRow*>& named, size_t count) {
  std::vector<const StoreRow*> stores(named.begin(), named.begin() + static_cast<std::ptrdiff_t>(count));
  const auto before = [](const StoreRow* a, const StoreRow* b) {
    return std::tie(a->output, a->image, a->out_top) < std::tie(b->output, b->image, b->out_top);
  };
  if (!std::is_sorted(stores.begin(), stores.end(), before)) std::sort(stores.begin(), stores.end(), before);
  for (size_t first = 0, last = 0; first < count; first = last) {
    while (last < count && stores[last]->output == stores[first]->output && stores[last]->image == stores[first]->image) ++last;
    if (any_meet(stores.data() + first, last - first)) return true;
  }
  return false;
}

// Refuses overlapping stores: threads would race. named: the stores in the order in which pieces name them.
void require_apart(const std::vector<const StoreRow*>& named) {
  if (!any_meet(named, named.size())) return;
  size_t good = 0, bad = named.size();  // the first `good` stores are disjoint, the first `bad` are not
  while (good + 1 < bad) {
    const size_t middle = good + (bad - good) / 2;
    (any_meet(named, middle) ? bad : good) = middle;
  }
  const StoreRow& last = *named[bad - 1];
  size_t other = 0;
  while (!meet(*named[other], last)) ++other;
  throw std::invalid_argument("regions: store " + std::to_string(bad - 1) + ": the rectangle must share no place of its output with that of store " +
                              std::to_string(other) + ", got " + printed(last, kStoreFields));
}

void require_geometry(const RegionGeometry& g) {
  const auto require = [](const char* name, int64_t value, int64_t least) {
    if (value >= least && value <= kMost) return;
    throw std::invalid_argument("regions: " + std::string(name) + " must be " + std::to_string(least) + " to 2**31 - 1, got " +
                                std::to_string(value));
  };
  require("size", g.size, 1);
  require("stride", g.stride, 1);
  require("padding", g.padding, 0);
  require("the pool's size", g.pool_size, 1);
  require("the pool's stride", g.pool_stride, 1);
}

}  // namespace

void require_regions(const RegionTables& tables, const RegionGeometry& geometry, const std::vector<ImagesShape>& sources,
                     const std::vector<ImagesShape>& outputs) {
  require_geometry(geometry);
  require_small("regions", tables.regions);
  require_small("pieces", tables.pieces);
  require_small("stores", tables.stores);
  Judge regions("region", kRegionFields);
  for (const RegionRow& region : tables.regions) regions.see(region, broken(region, geometry, sources, tables.pieces.count));
  regions.decide();
  const auto each_piece = [&](const auto& use) {
    for (const RegionRow& region : tables.regions) {
      for (int64_t i = 0; i < region.count; ++i) use(tables.pieces[region.first + i], region);
    }
  };
  int64_t named = 0, stored = 0;
  for (const RegionRow& region : tables.regions) named += region.count;
  require_few("pieces", named);
  Judge pieces("piece", kPieceFields);
  each_piece([&](const PieceRow& piece, const RegionRow& owner) {
    pieces.see(piece, broken(piece, owner, geometry, tables.stores.count));
  });
  pieces.decide();
  each_piece([&](const PieceRow& piece, const RegionRow&) { stored += piece.count; });
  require_few("stores", stored);
  Judge stores("store", kStoreFields);
  each_piece([&](const PieceRow& piece, const RegionRow&) {
    for (int64_t i = 0; i < piece.count; ++i) {
      const StoreRow& store = tables.stores[piece.first + i];
      stores.see(store, broken(store, piece, outputs));
    }
  });
  stores.decide();
  std::vector<const StoreRow*> placed;
  const int64_t enough = std::min(stored, tables.stores.count + 1);  // beyond the table's size, some store is named twice
  placed.reserve(static_cast<size_t>(enough));
  each_piece([&](const PieceRow& piece, const RegionRow&) {
    for (int64_t i = 0; i < piece.count && static_cast<int64_t>(placed.size()) < enough; ++i) {
      placed.push_back(&tables.stores[piece.first + i]);
    }
  });
  require_apart(placed);
}

}  // namespace dcnn
