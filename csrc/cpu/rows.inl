// rows.inl -- the two kernels of a row formula on the CPU.
//
// forward    reduces a team's rows and keeps what backward needs: normalisers and totals of d / d
// log. backward   reads once and writes once: with the totals at hand, every class has its
// derivative by itself.
//
// Compiled once per instruction set. Knows sources and the names of a formula's parts; must not
// know any formula by name, tensors, threads, or torch. Read first: reduce.inl; next: tables.inl.
#pragma once
#include "cpu/labels.inl"
#include "cpu/reduce.inl"

namespace torch_infotheory {
namespace {

// Whether denormals may be flushed: not where a probability is read as it stands, for the least of
// them count too.
inline bool may_flush(const Rows& r) {
  return r.p.kind != kProbs && (!r.q.data || r.q.kind != kProbs);
}

// Where the rows of a kernel are worked on.
template <class A>
struct Room {
  Tile<A> p, q, out;
};
// Teams that are worked on in step, and how many of them: more than one only where their rows lie
// side by side.
template <class T>
struct Teams {
  static constexpr int most = 4;
  T of[most];
  int n;
  template <class... X>
  Teams(Rows& r, X... x)
      : of{T(r, x...), T(r, x...), T(r, x...), T(r, x...)},
        n(of[0].rows.team.lanes_are_rows && !of[0].rows.p.tile && !of[0].rows.q.tile ? most : 1) {}
  // Moves to the rows from `at` on and `at` behind them; returns how many teams there are.
  int move_to(Cursor& at, int64_t end) {
    int i = 0;
    do {
      of[i].move_to(at, end);
      at.skip(of[i].rows.team.rows);
    } while (++i < n && at.row < end);
    return i;
  }
};

// One term for each class.
template <class F, class A>
void write_terms(Rows& r, int64_t begin, int64_t end) {
  const Write<A> out = writer<A>(r.value.type);
  const int64_t size = size_of(r.value.type);
  alignas(64) A terms[kBlock];
  Pair<A> row(r, /*lanes_are_rows=*/false, nullptr, nullptr);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    row.move_to(at, end);
    char* to = static_cast<char*>(const_cast<void*>(r.value.data)) + at.value * size;
    row.each_stretch([&](int64_t first, int64_t n) {
      row.template fold<F::arity>(
          first, n,
          [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
              __attribute__((always_inline)) {
                each_pack(packs, whole, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
                  const Prob<Pack<A>> x = p.at(i, w), y = q.at(i, w);
                  const Pack<A> total = x.p + y.p, term = F::term(x, y) * Pack<A>(r.scale);
                  // as in outcome: a NaN must show
                  store(terms + i * Pack<A>::width, select(total == total, term, Pack<A>(NAN)));
                });
              });
      out(terms, to + first * r.value.class_stride * size,
          Walk::along_classes(r.value.class_stride, n, Pack<A>::width));
    });
    for (int i = 0; i < 2 * F::arity; ++i) r.saved[i * r.rows + at.row] = 0;
  }
}

// What is kept of a team's rows.
template <class F, class A>
void keep(const Rows& r, const Cursor& at, int64_t n, const Results<A>& x) {
  const double* const kept[] = {x.zp, x.d_lp, x.zq, x.d_lq};
  for (int i = 0; i < 2 * F::arity; ++i) {
    double* to = r.saved + i * r.rows + at.row;
    for (int64_t j = 0; j < n; ++j) to[j] = kept[i][j];
  }
  if (r.row_values) {
    for (int64_t j = 0; j < n; ++j) r.row_values[at.row + j] = x.value[j];
  } else {
    const int64_t step = row_stride(r, r.value);
    for (int64_t j = 0; j < n; ++j)
      store_number(r.value, at.value + j * step, x.value[j] * r.scale);
  }
}

// The peaks of labels, which the reduction has not seen.
template <class F, class A>
void add_peaks(Reduction<F, A>& team, const Labels<A>& labels) {
  const bool logits = team.rows.q.is_logits();
  labels.each(team.rows.team, logits, team.out.zq,
              [&](auto v, int i, const auto& q) __attribute__((always_inline)) {
                using V = decltype(v);
                const Prob<V> p{lanes_at(v, labels.peak + i), V(0)};
                put(team.out.value + i, lanes_at(v, team.out.value + i) + F::term(p, q));
                put(team.out.d_lq + i, lanes_at(v, team.out.d_lq + i) + F::d_lq(p, q));
              });
}

// What is left to do once a team's rows are reduced.
template <class F, class A>
struct Finish {
  Rows& r;
  Labels<A> labels;
  Reduction<F, double> small;

  explicit Finish(Rows& rows) : r(rows), small(rows, false, nullptr, nullptr) {}
  void operator()(Reduction<F, A>& team) {
    const int64_t size = team.rows.team.rows;
    labels.read(r, team.at, team.rows);
    if (r.p.kind == kLabels) add_peaks(team, labels);
    for (int64_t j = 0; j < size && !labels.all_count; ++j)
      if (!labels.counts(j)) team.out.set(j, Results<double>{});
    if constexpr (F::divergence)
      for (int64_t j = 0; j < size && !r.elementwise; ++j)
        if (team.out.value[j] < kSmall<A> &&
            totals_agree(r, team.out.mass_p[j], team.out.mass_q[j], kRoundingOfSums)) {
          Cursor row = team.at;
          row.skip(j);
          reduce_small(small, row);
          team.out.set(j, small.out);
        }
    keep<F>(r, team.at, size, team.out);
  }
};

// visit(row, segment, first, last) for units of work: classes [first, last) of a row.
template <class Visit>
TI_LANE void each_segment(const Rows& r, int64_t begin, int64_t end, Visit visit) {
  const int64_t segments = r.segments();
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t first = unit % segments * r.segment, rest = r.classes - first;
    visit(unit / segments, unit, first, first + (rest < r.segment ? rest : r.segment));
  }
}

template <class F, class A>
void forward_segments(Rows& r, int64_t begin, int64_t end) {
  Reduction<F, A> team(r, false, nullptr, nullptr);
  const auto each = [&](int64_t row, int64_t first, int64_t last, auto take) {
    team.move_to(Cursor(r, row), row + 1);
    if (r.stage != Stage::kMoments) team.merge(r.parts + row * r.segments(), r.segments());
    each_stretch(last - first, kBlock, [&](int64_t from, int64_t n) { take(first + from, n); });
  };
  if (r.stage == Stage::kMoments)
    each_segment(r, begin, end, [&](int64_t row, int64_t unit, int64_t first, int64_t last) {
      each(row, first, last, [&](int64_t from, int64_t n) { team.take(from, n); });
      team.store_moments(r.parts[unit]);
    });
  if constexpr (!F::linear)
    if (r.stage == Stage::kTerms)
      each_segment(r, begin, end, [&](int64_t row, int64_t unit, int64_t first, int64_t last) {
        each(row, first, last, [&](int64_t from, int64_t n) { team.take_terms(from, n); });
        team.store_terms(r.parts[unit]);
      });
  if (r.stage != Stage::kFinish) return;
  Finish<F, A> finish(r);
  for (int64_t row = begin; row < end; ++row) {
    each(row, 0, 0, [](int64_t, int64_t) {});
    team.add_terms(r.parts + row * r.segments(), r.segments());
    finish(team);
  }
}

template <class F, class A>
void forward_rows(Rows& r, int64_t begin, int64_t end) {
  Room<A> room;
  Teams<Reduction<F, A>> teams(r, Team::pays(r), room.p.of, room.q.of);
  Finish<F, A> finish(r);
  for (Cursor at(r, begin); at.row < end;) {
    const int n = teams.move_to(at, end);
    reduce(teams.of, n);
    for (int i = 0; i < n; ++i) finish(teams.of[i]);
  }
}

template <class F, class A>
void forward(Rows& r, int64_t begin, int64_t end, double*) {
  if (picks(r)) return pick<F, A>(r, begin, end);
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if (r.pointwise())
      write_terms<F, A>(r, begin, end);
    else if (r.segment)
      forward_segments<F, A>(r, begin, end);
    else
      forward_rows<F, A>(r, begin, end);
  });
}

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
  double zq[width], total[width], scale[width];
  Pack<A> row_total, row_scale;

  Gradient(Rows& all, bool lanes_are_rows, A* tile_p, A* tile_q, A* tile_out)
      : r(all),
        rows(all, lanes_are_rows, tile_p, tile_q),
        at(all, 0),
        to(all.gradient),
        tile(is_tiled(rows.team, all) ? tile_out : nullptr),
        turn(tile_writer<A>(to.type)),
        write(writer<A>(to.type)),
        read_g(reader<A>(kLogProbs, all.g.type)),
        row_total(0),
        row_scale(0) {}

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
    double zp[width] = {};
    for (int64_t j = 0; j < rows.team.rows; ++j) {
      const double* saved = r.saved + at.row + j;
      zp[j] = saved[0];
      zq[j] = F::arity == 2 ? saved[2 * r.rows] : 0;
      total[j] = saved[(by_q ? 3 : 1) * r.rows];
      scale[j] =
          r.g_per_class ? r.scale : r.scale * load_number(r.g, at.g + j * row_stride(r, r.g));
    }
    if (rows.team.lanes_are_rows) {
      for (int64_t j = rows.team.rows; j < width; ++j) zq[j] = total[j] = scale[j] = 0;
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
                                 [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
                                     __attribute__((always_inline)) {
                                       as_kind(q, by_q ? rows.q.kind : rows.p.kind,
                                               [&]<Kind kind>() __attribute__((always_inline)) {
                                                 torch_infotheory::chain<F, kind, by_q>(
                                                     p, q, packs, whole, row_total, row_scale, out);
                                               });
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
    if (!labels.all_count)
      for (int64_t i = 0; i < numbers; ++i)
        if (!labels.counts(rows.team.lanes_are_rows ? i % width : 0)) d[i] = 0;
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
      if (labels.kind[j] == Label::kCounts && first <= labels.label[j] && labels.label[j] < last)
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
template <class F, class A>
void backward(Rows& r, int64_t begin, int64_t end, double*) {
  if (picks(r)) return scatter<F, A>(r, begin, end);
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if constexpr (F::arity == 2)
      if (r.by_q) return write_gradient<F, A, true>(r, begin, end);
    write_gradient<F, A, false>(r, begin, end);
  });
}

template <class... F>
const Kernels* row_kernels(List<F...>) {
  static constexpr Kernels table[] = {
      {{forward<F, float>, forward<F, double>}, {backward<F, float>, backward<F, double>}}...};
  return table;
}

}  // namespace
}  // namespace torch_infotheory
