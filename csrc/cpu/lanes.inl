// lanes.inl -- which rows are worked on together, and the operands as they see them.
//
// A team is either one row, its classes dealt to the lanes, or as many rows as there are lanes, one
// each: many rows of few classes, or a class dimension with an inner stride, where neighbouring
// rows lie side by side. All loops are the same for both; only at the end a row that was dealt to
// the lanes is merged. Knows sources and layout; must not know formulas.
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
  // Where the lanes find n classes of an operand.
  template <class A>
  Walk walk(int64_t class_stride, int64_t row_stride, int64_t n) const {
    return lanes_are_rows ? Walk::along_rows(class_stride, row_stride, n, rows)
                          : Walk::along_classes<A>(class_stride, n);
  }
  template <class A>
  int64_t numbers(int64_t n) const {
    constexpr int64_t width = Pack<A>::width;
    return lanes_are_rows ? n * width : (n + width - 1) / width * width;
  }
};

// visit(first, n) over the classes, at most so many at a time.
template <class Visit>
TI_LANE void each_stretch(int64_t classes, int64_t most, Visit visit) {
  for (int64_t first = 0; first < classes; first += most)
    visit(first, classes - first < most ? classes - first : most);
}

inline int64_t row_stride(const Rows& r, const Operand& x) {
  return r.rank && x.row_strides ? x.row_strides[r.rank - 1] : 0;
}

// One operand of the team's rows.
template <class A>
struct Source {
  const char* data = nullptr;
  int64_t class_stride, lane_stride, size;
  Kind kind;
  Read<A> read;
  Highest<A> highest;
  Mass<A> mass;
  Pack<A> high, low;

  Source(const Rows& r, const Operand& x)
      : class_stride(x.class_stride),
        lane_stride(row_stride(r, x)),
        size(size_of(x.type)),
        kind(x.kind),
        read(reader<A>(x.kind, x.type)),
        highest(highest_reader<A>(x.type)),
        mass(mass_reader<A>(x.type)),
        high(0),
        low(0) {}

  bool is_logits() const { return kind == kLogits; }
  void move_to(const Operand& x, int64_t offset) {
    data = static_cast<const char*>(x.data) + offset * size;
    high = Pack<A>(is_logits() ? -Format<A>::largest : A(0));
    low = Pack<A>(0);
  }
  void fill(const Team& team, int64_t first, int64_t n, Block<A>& to) const {
    read(data + first * class_stride * size, team.walk<A>(class_stride, lane_stride, n), high, low,
         to);
  }
  // The sum of the probabilities of n classes, relative to the reference.
  Pack<A> mass_of_block(const Team& team, int64_t first, int64_t n, Block<A>& scratch) const {
    if (is_logits())
      return mass(data + first * class_stride * size, team.walk<A>(class_stride, lane_stride, n),
                  high);
    Pack<A> sum(0);
    if (kind == kLabels) return sum;
    fill(team, first, n, scratch);
    for (int64_t i = 0; i < team.numbers<A>(n); i += Pack<A>::width)
      sum = sum + load<A>(scratch.p + i);
    return sum;
  }
  // Takes the maximum of n classes into the reference; returns old - new, which is 0 or below.
  Pack<A> raise(const Team& team, int64_t first, int64_t n) {
    if (!is_logits()) return Pack<A>(0);
    const Pack<A> old = high;
    high = highest(data + first * class_stride * size, team.walk<A>(class_stride, lane_stride, n),
                   old);
    return moved(old, high);
  }
  // From -largest a move would overflow; beyond this bound e^move is 0 anyway.
  static Pack<A> moved(Pack<A> from, Pack<A> to) {
    return max(Pack<A>(-Format<A>::largest / 4), from - to);
  }
  // From here on, logits are read as log-probabilities. In two parts, for z itself is not exact in
  // A.
  void normalise(const Wide<A>& z) {
    if (!is_logits()) return;
    high = z.narrowed();
    low = map([](Pack<double> a, Pack<double> b) { return a - b; }, z, Wide<A>(high)).narrowed();
  }
};

// A loss target. Only formulas linear in p are given one: nothing here states log p.
// Class weights and label smoothing, applied to a block of p and to a block of its
// derivative.
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
    const Pack<A> a(kept), b(spread);
    const auto update = [&](int64_t i, Pack<A> w, int64_t, int) {
      store(to + i, w * (a * load<A>(to + i) + b));
    };
    if (weight)
      each_pack<A>(weight + first,
                   team.lanes_are_rows ? Walk{1, 0, n, 1, 1} : Walk::along_classes<A>(1, n),
                   update);
    else
      for (int64_t i = 0; i < team.numbers<A>(n); i += Pack<A>::width) update(i, Pack<A>(1), 0, 0);
  }
  void apply(const Team& team, Block<A>& p, int64_t first, int64_t n) const {
    if (plain) return;
    apply(team, p.p, first, n, smoothing.kept, smoothing.spread);
    if (!team.lanes_are_rows && n % Pack<A>::width)
      p.empty(n - n % Pack<A>::width, n % Pack<A>::width);
  }
  void chain(const Team& team, A* d, int64_t first, int64_t n) const {
    if (!plain) apply(team, d, first, n, smoothing.kept, 0);
  }
  // What a label adds to the background of its class, and that background.
  double peak(int64_t c) const { return weight_of(c) * smoothing.kept; }
  double background(int64_t c) const { return weight_of(c) * smoothing.spread; }
};

// p and q of the team's rows, block by block.
template <class A>
struct Pair {
  const Rows& r;
  Team team;
  Source<A> p, q;
  Target<A> target;

  Pair(const Rows& rows, bool lanes_are_rows)
      : r(rows), team(lanes_are_rows), p(rows, rows.p), q(rows, rows.q), target(rows) {}

  void move_to(const Cursor& at, int64_t end) {
    team.take<A>(r, at, end);
    if (p.kind != kLabels) p.move_to(r.p, at.p);
    q.move_to(r.q, at.q);
  }
  void normalise(const Wide<A>& zp, const Wide<A>& zq) {
    p.normalise(zp);
    q.normalise(zq);
  }
  template <int arity>
  void fill(int64_t first, int64_t n, Block<A>& a, Block<A>& b) const {
    if (p.kind != kLabels)
      p.fill(team, first, n, a);
    else if (first == 0 || target.dense)
      for (int64_t i = 0; i < team.numbers<A>(n); ++i) a.p[i] = 0;
    target.apply(team, a, first, n);
    if constexpr (arity == 2) q.fill(team, first, n, b);
  }
  // visit(first, n) over the classes in blocks.
  template <class Visit>
  void each_stretch(Visit visit) const {
    torch_infotheory::each_stretch(r.classes, team.classes_per_block<A>(), visit);
  }
  // fold(first, n, a, b) over the blocks.
  template <int arity, class Fold>
  void each_block(Fold fold) const {
    Block<A> a, b;
    each_stretch([&](int64_t first, int64_t n) {
      fill<arity>(first, n, a, b);
      fold(first, n, a, b);
    });
  }
};

}  // namespace
}  // namespace torch_infotheory
