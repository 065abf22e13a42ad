// lanes.inl -- which rows are worked on together, and the operands as they see them.
//
// A team is either one row, its classes dealt to the lanes, or as many rows as there are lanes, one
// each: many rows of few classes, which are turned into a tile first, or a class dimension with an
// inner stride, where neighbouring rows lie side by side. All loops are the same; only at the end a
// row that was dealt to the lanes is merged. Knows sources and layout; must not know formulas.
#pragma once
#include "cpu/blocks.inl"
#include "cpu/cursor.h"

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
  // The rows from here on that the lanes can take: they must follow each other in the last
  // dimension.
  template <class A>
  void take(const Rows& r, const Cursor& at, int64_t end) {
    if (!lanes_are_rows) return;
    const int64_t in_line = r.sizes[r.rank - 1] - at.index[r.rank - 1], left = end - at.row;
    rows = Pack<A>::width;
    if (in_line < rows) rows = in_line;
    if (left < rows) rows = left;
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
  Type type;
  A* tile;  // or null
  Turn<A> turn;
  Read<A> read;
  Highest<A> highest;
  Mass<A> mass;
  Pack<A> high, low;

  Source(const Rows& r, const Operand& x, const Team& team, A* room)
      : class_stride(x.class_stride),
        lane_stride(row_stride(r, x)),
        size(size_of(x.type)),
        kind(x.kind),
        type(x.type),
        tile(kind != kLabels && is_tiled(team, r) ? room : nullptr),
        turn(tile_reader<A>(type)),
        high(0),
        low(0) {
    if (tile) {
      data = reinterpret_cast<const char*>(tile);
      type = own_type<A>;
      class_stride = width;
      lane_stride = 1;
    }
    read = reader<A>(kind, type);
    highest = highest_reader<A>(type);
    mass = mass_reader<A>(type);
  }

  bool is_logits() const { return kind == kLogits; }
  // Whether its packs can be loaded as they lie.
  bool is_plain(const Team& team) const {
    return type == own_type<A> && (team.lanes_are_rows ? lane_stride : class_stride) == 1;
  }
  void move_to(const Rows& r, const Operand& x, int64_t offset, const Team& team) {
    const char* there = static_cast<const char*>(x.data) + offset * size;
    if (tile)
      turn({const_cast<char*>(there), x.class_stride, row_stride(r, x), r.classes, team.rows},
           tile);
    else
      data = there;
    high = Pack<A>(is_logits() ? -Format<A>::largest : A(0));
    low = Pack<A>(0);
  }
  // To other classes of the same row, which is in no tile.
  void point_to(const Operand& x, int64_t offset) {
    data = static_cast<const char*>(x.data) + offset * size;
  }
  const char* at(int64_t first) const {
    return data + first * class_stride * (tile ? int64_t(sizeof(A)) : size);
  }
  Walk walk(const Team& team, int64_t n) const {
    return team.lanes_are_rows
               ? Walk::along_rows(class_stride, lane_stride, n, tile ? width : team.rows)
               : Walk::along_classes(class_stride, n, width);
  }
  template <Kind k>
  TI_LANE Stretch<A, A, k> stretch(const Team& team, int64_t first, int64_t n) const {
    return {reinterpret_cast<const A*>(at(first)), walk(team, n), high, low};
  }
  void fill(const Team& team, int64_t first, int64_t n, Block<A>& to) const {
    read(at(first), walk(team, n), high, low, to);
  }
  // The sum of the probabilities of n classes, relative to the reference.
  Pack<A> mass_of_block(const Team& team, int64_t first, int64_t n, Block<A>& scratch) const {
    if (is_logits()) return mass(at(first), walk(team, n), high);
    Pack<A> sum(0);
    if (kind == kLabels) return sum;
    fill(team, first, n, scratch);
    for (int64_t i = 0; i < team.packs<A>(n); ++i) sum = sum + load<A>(scratch.p + i * width);
    return sum;
  }
  // Takes the maximum of n classes into the reference; returns old - new, which is 0 or below.
  Pack<A> raise(const Team& team, int64_t first, int64_t n) {
    if (!is_logits()) return Pack<A>(0);
    const Pack<A> old = high, top = highest(at(first), walk(team, n), old);
    const auto above = top > old + Pack<A>(kSlack);
    if (!any(above, top)) return Pack<A>(0);
    high = team.lanes_are_rows ? select(above, top, old) : Pack<A>(torch_infotheory::highest(top));
    return max(Pack<A>(-Format<A>::largest / 4), old - high);  // beyond it e^move is 0 anyway
  }
  // From here on, logits are read as log-probabilities. In two parts, for z itself is not exact in
  // A.
  void normalise(const double* z, const Team& team) {
    if (!is_logits()) return;
    if (team.lanes_are_rows) {
      const Wide<A> wide(z);
      high = wide.narrowed();
      low =
          map([](Pack<double> a, Pack<double> b) { return a - b; }, wide, Wide<A>(high)).narrowed();
    } else {
      high = Pack<A>(A(z[0]));
      low = Pack<A>(z[0] - double(A(z[0])));
    }
  }
};

// A loss target. Only formulas linear in p are given one: nothing here states log p.
// Class weights and label smoothing, applied to a block of p and to a block of its derivative.
template <class A>
struct Target {
  const A* weight;
  Smoothing smoothing;
  bool plain, dense;  // nothing to apply; anything besides the peak of a label

  Target(const Rows& r)
      : weight(static_cast<const A*>(r.weight)),
        smoothing(r.label_smoothing, r.classes),
        plain(!r.weight && r.label_smoothing == 0),
        dense(r.p.kind != kLabels || r.label_smoothing != 0) {}

  double weight_of(int64_t c) const { return weight ? double(weight[c]) : 1; }

  // to_i = w_i (kept to_i + spread)
  void apply(const Team& team, A* to, int64_t first, int64_t n, double kept, double spread) const {
    constexpr int width = Pack<A>::width;
    const Pack<A> a(kept), b(spread);
    for (int64_t i = 0; i < team.packs<A>(n); ++i) {
      const int64_t left = n - i * width;
      Pack<A> w(team.lanes_are_rows || left >= width ? 1 : 0);
      if (weight)
        w = team.lanes_are_rows
                ? Pack<A>(weight[first + i])
                : load_lanes<A>(weight + first + i * width, 1, left < width ? left : width, A(0));
      else if (!team.lanes_are_rows && left < width)
        w = first_lanes(Pack<A>(1), left);
      store(to + i * width, w * (a * load<A>(to + i * width) + b));
    }
  }
  void apply(const Team& team, Block<A>& p, int64_t first, int64_t n) const {
    if (!plain) apply(team, p.p, first, n, smoothing.kept, smoothing.spread);
  }
  void chain(const Team& team, A* d, int64_t first, int64_t n) const {
    if (!plain) apply(team, d, first, n, smoothing.kept, 0);
  }
  // What a label adds to the background of its class, and that background.
  double peak(int64_t c) const { return weight_of(c) * smoothing.kept; }
  double background(int64_t c) const { return weight_of(c) * smoothing.spread; }
};

// One probability for all classes of a stretch.
template <class A>
struct Constant {
  static constexpr Kind kind = kLabels;
  Pack<A> p;
  Walk walk;
  template <bool whole>
  TI_LANE Prob<Pack<A>> at(int64_t pack, Whole<whole>) const {
    const Pack<A> v = whole ? p : first_lanes(p, walk.lanes(pack));
    return {v, v};
  }
};

// p and q of the team's rows.
template <class A>
struct Pair {
  static constexpr bool fuses = TI_PACK_BYTES == 64 && sizeof(A) == sizeof(float);
  enum Fused { kNothing, kBothLogits, kBothProbs, kLabelsAndLogits };

  const Rows& r;
  Team team;
  Source<A> p, q;
  Target<A> target;
  Fused fused;

  // Tiles for p and q: used where the rows are turned.
  Pair(const Rows& rows, bool lanes_are_rows, A* tile_p, A* tile_q)
      : r(rows),
        team(lanes_are_rows),
        p(rows, rows.p, team, tile_p),
        q(rows, rows.q, team, tile_q),
        target(rows),
        fused(fused_as()) {}

  void move_to(const Cursor& at, int64_t end) {
    team.take<A>(r, at, end);
    if (p.kind != kLabels) p.move_to(r, r.p, at.p, team);
    if (r.q.data) q.move_to(r, r.q, at.q, team);
  }
  void normalise(const double* zp, const double* zq) {
    p.normalise(zp, team);
    q.normalise(zq, team);
  }
  // visit(first, n) over the classes in blocks.
  template <class Visit>
  void each_stretch(Visit visit) const {
    torch_infotheory::each_stretch(r.classes, team.classes_per_block<A>(), visit);
  }
  // fold(p, q, packs, whole) for n classes: as they lie in memory where that is among the common
  // cases, or else as blocks.
  template <int arity, class Fold>
  TI_LANE void fold(int64_t first, int64_t n, Fold f) const {
    if constexpr (fuses) {
      const auto both = [&](const auto& x, const auto& y) __attribute__((always_inline)) {
        const int64_t whole = x.whole();
        if constexpr (arity == 2)
          f(x, y, x.packs(), whole < y.whole() ? whole : y.whole());
        else
          f(x, x, x.packs(), whole);
      };
      switch (fused) {
        case kBothLogits:
          return both(p.template stretch<kLogits>(team, first, n),
                      q.template stretch<kLogits>(team, first, n));
        case kBothProbs:
          return both(p.template stretch<kProbs>(team, first, n),
                      q.template stretch<kProbs>(team, first, n));
        case kLabelsAndLogits:
          if constexpr (arity == 2) {
            const auto y = q.template stretch<kLogits>(team, first, n);
            return f(Constant<A>{Pack<A>(target.smoothing.spread), y.walk}, y, y.packs(),
                     y.whole());
          }
        default:
          break;
      }
    }
    Block<A> a, b;
    if (p.kind != kLabels)
      p.fill(team, first, n, a);
    else
      for (int64_t i = 0; i < team.packs<A>(n) * Pack<A>::width; ++i) a.p[i] = 0;
    target.apply(team, a, first, n);
    if constexpr (arity == 2) q.fill(team, first, n, b);
    const int64_t packs = team.packs<A>(n);
    f(a, arity == 2 ? b : a, packs, packs);
  }

 private:
  Fused fused_as() const {
    const bool two = r.q.data != nullptr;
    if (two && !q.is_plain(team)) return kNothing;
    if (p.kind == kLabels) return q.is_logits() && !r.weight ? kLabelsAndLogits : kNothing;
    if (!p.is_plain(team) || !target.plain || (two && p.kind != q.kind)) return kNothing;
    return p.kind == kLogits ? kBothLogits : p.kind == kProbs ? kBothProbs : kNothing;
  }
};

}  // namespace
}  // namespace torch_infotheory
