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

// What arrives at the value of each row, in the unit of the value.
inline void load_row_gradients(const Rows& r, const Run& run, double* g) {
  const int64_t lines = row_stride(r, r.g), different = lines ? run.n : 1;
  load_numbers(r.g, different, [&](int64_t j) { return run.at.g + j * lines; }, g);
  const double first = g[0];
  for (int64_t j = 0; j < run.n; ++j) g[j] = r.scale * (lines ? g[j] : first);
}

// What backward is given of a run's rows, and the part of their gradient that labels have.
template <class F, class A, bool by_q>
struct Given {
  Rows& r;
  const Target<A> target;
  Labels labels;
  // The log-normalizers; total of d / d log; factor.
  double high_p[Run::most] = {}, log_p[Run::most] = {}, high_q[Run::most] = {},
         log_q[Run::most] = {}, total[Run::most] = {}, scale[Run::most];

  explicit Given(Rows& rows) : r(rows), target(rows) {}
  void move_to(const Run& run) {
    labels.read(r, run, target);
    const auto load_saved = [&](int operand, Saved number, double* to) {
      __builtin_memcpy(to, r.saved_of(operand, number) + run.at.row, run.n * sizeof(double));
    };
    if (r.saved) {
      load_saved(0, kHigh, high_p), load_saved(0, kLogSum, log_p);
      if constexpr (F::arity == 2) load_saved(1, kHigh, high_q), load_saved(1, kLogSum, log_q);
      load_saved(by_q, kTotal, total);
    }
    if (r.g_per_class)
      for (int64_t j = 0; j < run.n; ++j) scale[j] = r.scale;
    else
      load_row_gradients(r, run, scale);
  }
  // The classes in [first, last) that the labels name.
  void write_peaks(const Run& run, int64_t first, int64_t last) {
    if constexpr (by_q && takes_labels<F>)
      if (r.p.kind == kLabels) {
        using V = Pack<double>;
        const bool logits = r.q.kind == kLogits;
        const double all_of_it = target.smoothing.kept + target.smoothing.spread;
        double d[Run::most];
        labels.look_up(r, run);
        labels.each(all_of_it, logits, {high_q, log_q},
                    [&](int64_t j, const Prob<V>& p, const Prob<V>& q)
                        __attribute__((always_inline)) {
                          const V of_row = load<double>(total + j);
                          const V w = logits ? gradient_by_q<F, kLogits>(p, q, of_row)
                                             : gradient_by_q<F, kLogProbs>(p, q, of_row);
                          store(d + j, load<double>(scale + j) * w);
                        });
        if (!labels.all_count) clear_where_zero(d, labels.counting, run.n);
        const Operand& to = r.gradient;
        const int64_t lines = row_stride(r, to);
        with_type<double>(to.type, [&](auto tag) {
          auto* x = static_cast<typename decltype(tag)::type*>(const_cast<void*>(to.data)) +
                    run.at.gradient;
          labels.each_within(first, last, r.classes, [&](int64_t j, int64_t label) {
            put_number(x + j * lines + label * to.class_stride, d[j]);
          });
        });
      }
  }
};

// A team's rows on the way to their gradient.
template <class F, class A, bool by_q>
struct Gradient {
  static constexpr int width = Pack<A>::width;
  Rows& r;
  Pair<A> rows;
  const Given<F, A, by_q>& given;
  int64_t gradient = 0, g = 0;  // offsets of its rows
  const Operand& to;
  A* tile;  // or null
  Turn<A> turn;
  Write<A> write;
  Convert<A> convert_g;
  Pack<A> total, scale, counting;
  bool all_count = true, any_counts = true;

  Gradient(Rows& all, bool lanes_are_rows, A* tile_p, A* tile_q, A* tile_out,
           const Given<F, A, by_q>* of_rows)
      : r(all),
        rows(all, lanes_are_rows, where_turned(all.p, tile_p), where_turned(all.q, tile_q)),
        given(*of_rows),
        to(all.gradient),
        tile(is_tiled(rows.team, all) ? where_turned(to, tile_out) : nullptr),
        turn(tile_writer<A>(to.type)),
        write(writer<A>(to.type)),
        convert_g(converter<A>(all.g.type)),
        total(0),
        scale(0),
        counting(1) {
    // The slope by p of a linear formula is made of logarithms.
    if constexpr (F::linear && F::arity == 2 && !by_q) rows.q.read_logarithms();
  }

  bool has_tiles() const { return rows.has_tiles() || tile; }
  char* memory(int64_t first) const {
    return static_cast<char*>(const_cast<void*>(to.data)) +
           (gradient + first * to.class_stride) * size_of(to.type);
  }
  Walk walk(int64_t n) const {
    return rows.team.lanes_are_rows
               ? Walk::along_rows(to.class_stride, row_stride(r, to), n, rows.team.rows)
               : Walk::along_classes(to.class_stride, n, width);
  }
  // To the rows from row j of a run on.
  void move_to(const Run& run, int64_t j) {
    gradient = run.at.gradient + j * row_stride(r, to);
    g = run.at.g + j * row_stride(r, r.g);
    rows.move_to(run, j);
    const auto lanes = [&](const double* numbers) {
      return of_rows<A>(rows.team, numbers + j).narrowed();
    };
    total = lanes(given.total);
    scale = lanes(given.scale);
    all_count = given.labels.all_count;
    any_counts = given.labels.any_counts;
    if (!all_count) {
      counting = lanes(given.labels.counting);
      any_counts = any(counting > Pack<A>(0), counting);
    }
    rows.normalise({given.high_p + j, given.log_p + j}, {given.high_q + j, given.log_q + j});
  }
  void take(int64_t first, int64_t n) {
    const bool plain = all_count && !r.g_per_class && (by_q || rows.target.plain);
    const Walk there = walk(n);
    if (plain && !tile && to.type == own_type<A> && there.lane == 1)
      return chain(first, n, {reinterpret_cast<A*>(memory(first)), there, false});
    alignas(64) A room[kBlock];
    A* d = tile ? tile + first * width : room;
    const int64_t packs = rows.team.template packs<A>(n);
    if (any_counts) chain(first, n, {d, {width, 1, packs, width, width}, true});
    if (!plain) adjust(first, n, d);
    if (!tile) write(d, memory(first), there);
  }
  void finish() {
    if (tile)
      turn({memory(0), to.class_stride, row_stride(r, to), r.classes, rows.team.rows}, tile);
  }

 private:
  // A row is read once: where rows lie side by side, there is nothing to gain from a tile.
  A* where_turned(const Operand& x, A* room) const {
    return row_stride(r, x) == 1 ? nullptr : room;
  }
  void chain(int64_t first, int64_t n, const Sink<A>& out) {
    rows.template fold<F>(
        first, n,
        [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
            __attribute__((always_inline)) {
              const auto by = [&]<Kind kind>() __attribute__((always_inline)) {
                torch_infotheory::chain<F, kind, by_q>(p, q, packs, whole, total, scale, out);
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
      alignas(64) A by[kBlock];
      convert_g(
          static_cast<const char*>(r.g.data) + (g + first * r.g.class_stride) * size_of(r.g.type),
          Walk::along_classes(r.g.class_stride, n, width), by);
      for (int64_t i = 0; i < numbers; i += width) store(d + i, load<A>(d + i) * load<A>(by + i));
    }
    if (all_count) return;
    const Pack<A> zero(0);
    for (int64_t i = 0; i < numbers; i += width)
      store(d + i, select(counting == zero, zero, load<A>(d + i)));
  }
};

template <class F, class A, bool by_q>
void write_gradient(Rows& r, int64_t begin, int64_t end) {
  Given<F, A, by_q> given(r);
  if (r.segment) {
    Gradient<F, A, by_q> team(r, false, nullptr, nullptr, nullptr, &given);
    return each_segment(r, begin, end, [&](int64_t row, int64_t, int64_t first, int64_t last) {
      const Cursor at(r, row);
      const Run run{at, 1};
      given.move_to(run);
      team.move_to(run, 0);
      each_stretch(last - first, kBlock,
                   [&](int64_t from, int64_t n) { team.take(first + from, n); });
      given.write_peaks(run, first, last);
    });
  }
  Room<A> room;
  Teams<Gradient<F, A, by_q>> teams(r, Team::pays(r), room.p.of, room.q.of, room.out.of, &given);
  each_run(r, begin, end, [&](const Run& run) {
    given.move_to(run);
    for (int64_t j = 0; j < run.n;) {
      const int n = teams.move_to(run, j);
      teams.of[0].rows.each_stretch([&](int64_t first, int64_t classes) {
        for (int i = 0; i < n; ++i) teams.of[i].take(first, classes);
      });
      for (int i = 0; i < n; ++i) teams.of[i].finish();
    }
    given.write_peaks(run, 0, r.classes);
  });
}

}  // namespace
}  // namespace torch_infotheory
