// lanes.inl -- which rows are worked on together, and the operands as they see them.
//
// A team is either one row, its classes dealt to the lanes, or as many rows as there are lanes, one
// each: many rows of few classes, which are turned into a tile first, or a class dimension with an
// inner stride, where neighbouring rows lie side by side. All loops are the same; only at the end a
// row that was dealt to the lanes is merged. Knows sources and layout; must not know formulas.
#pragma once
#include "core/row.h"
#include "cpu/cursor.h"
#include "cpu/readers.inl"

namespace torch_infotheory {
namespace {

constexpr int64_t kFewClasses =
    64;  // up to here a row of contiguous classes leaves most lanes idle or in tails

struct Team {
  bool lanes_are_rows;
  int64_t rows;  // of this team: 1, or up to the width of a pack

  explicit Team(bool by_rows) : lanes_are_rows(by_rows), rows(1) {}
  static bool pays(const Rows& r) {
    const Operand& x = r.p.kind == kLabels ? r.q : r.p;
    if (r.rank == 0 || r.elementwise || r.sizes[r.rank - 1] < 2) return false;
    return x.class_stride == 1 ? r.classes <= kFewClasses : x.row_strides[r.rank - 1] == 1;
  }
  // Of `left` rows of a run as many as the lanes can take.
  template <class A>
  void take(int64_t left) {
    if (lanes_are_rows) rows = left < Pack<A>::width ? left : Pack<A>::width;
  }
  template <class A>
  int64_t classes_per_block() const {
    return lanes_are_rows ? kBlock / Pack<A>::width : kBlock;
  }
  // The packs that n classes take.
  template <class A>
  int64_t packs(int64_t n) const {
    return lanes_are_rows ? n : (n + Pack<A>::width - 1) / Pack<A>::width;
  }
};

inline int64_t row_stride(const Rows& r, const Operand& x) {
  return r.rank && x.row_strides ? x.row_strides[r.rank - 1] : 0;
}

// Room for the rows of a team, one pack for each class.
template <class A>
struct Tile {
  alignas(64) A of[kFewClasses * Pack<A>::width];
};
// Rows of few classes are worked on in a tile: contiguous classes have to be turned, and lines that
// lie a power of two apart would push each other out of the cache between two readings.
inline bool is_tiled(const Team& team, const Rows& r) {
  return team.lanes_are_rows && r.classes <= kFewClasses;
}
template <class A>
constexpr Type own_type = sizeof(A) == sizeof(double) ? kDouble : kFloat;

// Numbers of a team's rows as its lanes see them: of each row its own, or of the one row in all
// lanes.
template <class A>
TI_LANE Wide<A> of_rows(const Team& team, const double* numbers) {
  return team.lanes_are_rows ? Wide<A>(numbers) : Wide<A>(*numbers);
}
// The log-normalizers z of rows in their two parts, see core/row.h.
struct Normalizers {
  const double *high, *log;
};

// z in two numbers of A.
template <class A>
TI_LANE void split(const Wide<A>& z_high, const Wide<A>& z_log, Pack<A>& high, Pack<A>& low) {
  const Wide<A> z = map([](auto a, auto b) { return a + b; }, z_high, z_log);
  high = z.narrowed();
  low = map([](auto a, auto b, auto z, auto high) { return (z - high) + rest_of(a, b, z); }, z_high,
            z_log, z, Wide<A>(high))
            .narrowed();
}

// One operand of the team's rows.
template <class A>
struct Source {
  static constexpr int width = Pack<A>::width;
  // A reference may fall behind the highest class by this much before it is moved: every move
  // rescales the sums.
  static constexpr double kSlack = 8;

  const char* data = nullptr;
  int64_t class_stride, lane_stride, size;
  Kind kind;
  A* tile;  // or null
  Turn<A> turn;
  Convert<A> convert;  // null where memory, or the tile, has the type computed with
  Read<A> read;
  Pack<A> high, low;
  int64_t converted_from = -1;  // the first of the classes that have been converted
  alignas(64) A converted[kBlock];

  Source(const Rows& r, const Operand& x, const Team& team, A* room)
      : class_stride(x.class_stride),
        lane_stride(row_stride(r, x)),
        size(size_of(x.type)),
        kind(x.kind),
        tile(kind != kLabels && is_tiled(team, r) ? room : nullptr),
        turn(tile_reader<A>(x.type)),
        convert(tile || x.type == own_type<A> ? nullptr : converter<A>(x.type)),
        read(reader<A>(kind)),
        high(0),
        low(0) {
    if (tile) {
      data = reinterpret_cast<const char*>(tile);
      class_stride = width;
      lane_stride = 1;
    }
  }

  bool is_logits() const { return kind == kLogits; }
  // Whether its packs lie side by side.
  bool is_plain(const Team& team) const {
    return convert || (team.lanes_are_rows ? lane_stride : class_stride) == 1;
  }
  void move_to(const Rows& r, const Operand& x, int64_t offset, const Team& team) {
    const char* there = static_cast<const char*>(x.data) + offset * size;
    if (tile)
      turn({const_cast<char*>(there), x.class_stride, row_stride(r, x), r.classes, team.rows},
           tile);
    else
      data = there;
    converted_from = -1;
    high = Pack<A>(is_logits() ? -Format<A>::largest : A(0));
    low = Pack<A>(0);
  }
  // To other classes of the same row, which is in no tile.
  void point_to(const Operand& x, int64_t offset) {
    data = static_cast<const char*>(x.data) + offset * size;
    converted_from = -1;
  }
  // n classes. (Each view is made where it is returned: a copy would wait for the one copied.)
  View<A> view(const Team& team, int64_t first, int64_t n) {
    const auto walk = [&](int64_t of_class, int64_t of_row, int64_t rows) {
      return team.lanes_are_rows ? Walk::along_rows(of_class, of_row, n, rows)
                                 : Walk::along_classes(of_class, n, width);
    };
    if (tile) return {tile + first * width, walk(width, 1, width)};
    const char* there = data + first * class_stride * size;
    if (!convert)
      return {reinterpret_cast<const A*>(there), walk(class_stride, lane_stride, team.rows)};
    if (converted_from != first)
      convert(there, walk(class_stride, lane_stride, team.rows), converted);
    converted_from = first;
    return {converted, walk(team.lanes_are_rows ? width : 1, 1, width)};
  }
  template <Kind k>
  TI_LANE Stretch<A, k> stretch(const Team& team, int64_t first, int64_t n) {
    return {view(team, first, n), high, low};
  }
  void fill(const Team& team, int64_t first, int64_t n, Block<A>& to) {
    read(view(team, first, n), high, low, to);
  }
  // Where no probability is asked for.
  void read_logarithms() {
    if (is_logits()) read = torch_infotheory::read_logarithms<A>;
  }
  // The sum of the probabilities of n classes, relative to the reference.
  Pack<A> mass_of_block(const Team& team, int64_t first, int64_t n, Block<A>& scratch) {
    if (is_logits()) return mass_of(view(team, first, n), high);
    Pack<A> sum(0);
    if (kind == kLabels) return sum;
    fill(team, first, n, scratch);
    for (int64_t i = 0; i < team.packs<A>(n); ++i) sum = sum + load<A>(scratch.p + i * width);
    return sum;
  }
  // Takes the maximum of n classes into the reference; returns old - new, which is 0 or below.
  Pack<A> raise(const Team& team, int64_t first, int64_t n) {
    if (!is_logits()) return Pack<A>(0);
    const Pack<A> old = high, top = highest_of(view(team, first, n), old);
    const auto above = top > old + Pack<A>(kSlack);
    if (!any(above, top)) return Pack<A>(0);
    high = team.lanes_are_rows ? select(above, top, old) : Pack<A>(torch_infotheory::highest(top));
    return max(Pack<A>(-Format<A>::largest / 4), old - high);  // beyond it e^move is 0 anyway
  }
  // From here on, logits are read as log-probabilities. In two parts, for z itself is not exact in
  // A.
  void normalise(const Wide<A>& z_high, const Wide<A>& z_log) {
    if (is_logits()) split(z_high, z_log, high, low);
  }
  void normalise(const Normalizers& z, const Team& team) {
    normalise(of_rows<A>(team, z.high), of_rows<A>(team, z.log));
  }
};

}  // namespace
}  // namespace torch_infotheory
