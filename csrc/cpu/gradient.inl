// gradient.inl -- the derivative of rows: one reading and one writing, for with the totals that
// forward kept every class has its derivative by itself.
//
// Knows sources and the names of a formula's parts; must not know any formula by name, tensors,
// threads, or torch. Read next: rows.inl.
#pragma once
#include "cpu/labels.inl"
#include "cpu/teams.inl"

namespace torch_infotheory {
namespace {

// Where the derivatives of a stretch go: to memory as it lies, or to room for whole packs.
template <class A>
struct Sink {
  A* to;
  Walk walk;
  bool padded;
  int64_t whole() const { return padded ? walk.packs : walk.whole(Pack<A>::width); }
  template <bool whole>
  TI_LANE void put(int64_t pack, Whole<whole>, Pack<A> v) const {
    A* at = to + pack * walk.step;
    if (whole || padded)
      store(at, v);
    else
      store_lanes(at, 1, walk.lanes(pack), v);
  }
};

// d / d x of a stretch, x of some kind.
template <class F, Kind kind, bool by_q, class A, class P, class Q>
TI_LANE void chain(const P& p, const Q& q, int64_t packs, int64_t whole, Pack<A> total,
                   Pack<A> scale, const Sink<A>& out) {
  const int64_t both = whole < out.whole() ? whole : out.whole();
  each_pack(packs, both, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = p.at(i, w), y = F::arity == 2 ? q.at(i, w) : x;
    if constexpr (by_q)
      out.put(i, w, gradient_by_q<F, kind>(x, y, total) * scale);
    else
      out.put(i, w, gradient_by_p<F, kind>(x, y, total) * scale);
  });
}

// A team's rows on the way to their gradient.
template <class F, class A, bool by_q>
struct Gradient {
  static constexpr int width = Pack<A>::width;
  Rows& r;
  Pair<A> rows;
  Cursor at;
  Labels<A> labels;
  const Operand& to;
  A* tile;  // or null
  Turn<A> turn;
  Write<A> write;
  Read<A> read_g;
  Normalisers<A> zq;
  double total[width], scale[width];
  Pack<A> row_total, row_scale;

  Gradient(Rows& all, bool lanes_are_rows, A* tile_p, A* tile_q, A* tile_out)
      : r(all),
        rows(all, lanes_are_rows, tile_p, tile_q),
        at(all, 0),
        to(all.gradient),
        tile(is_tiled(rows.team, all) ? tile_out : nullptr),
        turn(tile_writer<A>(to.type)),
        write(writer<A>(to.type)),
        read_g(logarithm_reader<A>(all.g.type)),
        zq{},
        row_total(0),
        row_scale(0) {
    // The slope by p of a linear formula is made of logarithms.
    if constexpr (F::linear && F::arity == 2 && !by_q) rows.q.read_logarithms();
  }

  char* memory(int64_t first) const {
    return static_cast<char*>(const_cast<void*>(to.data)) +
           (at.gradient + first * to.class_stride) * size_of(to.type);
  }
  Walk walk(int64_t n) const {
    return rows.team.lanes_are_rows
               ? Walk::along_rows(to.class_stride, row_stride(r, to), n, rows.team.rows)
               : Walk::along_classes(to.class_stride, n, width);
  }
  void move_to(const Cursor& cursor, int64_t end) {
    at = cursor;
    rows.move_to(at, end);
    labels.read(r, at, rows);
    Normalisers<A> zp{};
    for (int64_t j = 0; j < rows.team.rows; ++j) {
      const int64_t row = at.row + j;
      zp.z[j] = r.kept(0, row);
      zq.z[j] = F::arity == 2 ? r.kept(2, row) : 0;
      total[j] = r.kept(by_q ? 3 : 1, row);
      scale[j] =
          r.g_per_class ? r.scale : r.scale * load_number(r.g, at.g + j * row_stride(r, r.g));
    }
    if (rows.team.lanes_are_rows) {
      for (int64_t j = rows.team.rows; j < width; ++j) zq.z[j] = total[j] = scale[j] = 0;
      row_total = Wide<A>(total).narrowed();
      row_scale = Wide<A>(scale).narrowed();
    } else {
      row_total = Pack<A>(total[0]);
      row_scale = Pack<A>(scale[0]);
    }
    rows.normalise(zp, zq);
  }
  void take(int64_t first, int64_t n) {
    const bool plain = labels.all_count && !r.g_per_class && (by_q || rows.target.plain);
    const Walk there = walk(n);
    if (plain && !tile && to.type == own_type<A> && there.lane == 1)
      return chain(first, n, {reinterpret_cast<A*>(memory(first)), there, false});
    alignas(64) A room[kBlock];
    A* d = tile ? tile + first * width : room;
    const int64_t packs = rows.team.template packs<A>(n);
    if (labels.any_counts) chain(first, n, {d, {width, 1, packs, width, width}, true});
    if (!plain) adjust(first, n, d);
    if (!tile) write(d, memory(first), there);
  }
  // After classes [first, last).
  void finish(int64_t first, int64_t last) {
    if (tile)
      turn({memory(0), to.class_stride, row_stride(r, to), r.classes, rows.team.rows}, tile);
    if constexpr (by_q)
      if (r.p.kind == kLabels) write_peaks(first, last);
  }

 private:
  void chain(int64_t first, int64_t n, const Sink<A>& out) const {
    rows.template fold<F::arity>(first, n,
                                 [&](const auto& p, const auto& q, int64_t packs,
                                     int64_t whole) __attribute__((always_inline)) {
                                   const auto by = [&]<Kind kind>() __attribute__((always_inline)) {
                                     torch_infotheory::chain<F, kind, by_q>(
                                         p, q, packs, whole, row_total, row_scale, out);
                                   };
                                   if constexpr (by_q)
                                     as_kind(q, rows.q.kind, by);
                                   else
                                     as_kind(p, rows.p.kind, by);
                                 });
  }
  // What is not the same for every class and row.
  void adjust(int64_t first, int64_t n, A* d) const {
    if constexpr (!by_q) rows.target.chain(rows.team, d, first, n);
    const int64_t numbers = rows.team.template packs<A>(n) * width;
    if (r.g_per_class) {
      Block<A> g;
      read_g(static_cast<const char*>(r.g.data) +
                 (at.g + first * r.g.class_stride) * size_of(r.g.type),
             Walk::along_classes(r.g.class_stride, n, width), Pack<A>(0), Pack<A>(0), g);
      for (int64_t i = 0; i < numbers; i += width)
        store(d + i, load<A>(d + i) * load<A>(g.log + i));
    }
    if (labels.all_count) return;
    A ones[width];
    for (int64_t j = 0; j < width; ++j)
      ones[j] = labels.label[rows.team.lanes_are_rows ? j : 0] >= 0;
    const Pack<A> count = load<A>(ones), zero(0);
    for (int64_t i = 0; i < numbers; i += width)
      store(d + i, select(count == zero, zero, load<A>(d + i)));
  }
  // The classes that the labels name.
  void write_peaks(int64_t first, int64_t last) const {
    double d[width];
    const bool logits = rows.q.is_logits();
    labels.each(
        rows.team, logits, zq, [&](auto v, int i, const auto& q) __attribute__((always_inline)) {
          using V = decltype(v);
          const Prob<V> p{lanes_at(v, labels.peak + i) + lanes_at(v, labels.background + i), V(0)};
          const V of_row = lanes_at(v, total + i);
          const V w = logits ? gradient_by_q<F, kLogits>(p, q, of_row)
                             : gradient_by_q<F, kLogProbs>(p, q, of_row);
          put(d + i, lanes_at(v, scale + i) * w);
        });
    for (int64_t j = 0; j < rows.team.rows; ++j)
      if (first <= labels.label[j] && labels.label[j] < last)
        store_number(to, at.gradient + j * row_stride(r, to) + labels.label[j] * to.class_stride,
                     d[j]);
  }
};

template <class F, class A, bool by_q>
void write_gradient(Rows& r, int64_t begin, int64_t end) {
  if (r.segment) {
    Gradient<F, A, by_q> team(r, false, nullptr, nullptr, nullptr);
    return each_segment(r, begin, end, [&](int64_t row, int64_t, int64_t first, int64_t last) {
      team.move_to(Cursor(r, row), row + 1);
      each_stretch(last - first, kBlock,
                   [&](int64_t from, int64_t n) { team.take(first + from, n); });
      team.finish(first, last);
    });
  }
  Room<A> room;
  Teams<Gradient<F, A, by_q>> teams(r, Team::pays(r), room.p.of, room.q.of, room.out.of);
  for (Cursor at(r, begin); at.row < end;) {
    const int n = teams.move_to(at, end);
    teams.of[0].rows.each_stretch([&](int64_t first, int64_t classes) {
      for (int i = 0; i < n; ++i) teams.of[i].take(first, classes);
    });
    for (int i = 0; i < n; ++i) teams.of[i].finish(0, r.classes);
  }
}

}  // namespace
}  // namespace torch_infotheory
