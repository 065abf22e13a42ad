// rows.inl -- how rows are reduced on the CPU, forward and backward, for every formula.
//
// forward    Linear formulas read a row once: moments relative to a moving reference, corrected
// when the reference moves and
//            once more when the normalisers are known. Other formulas read it again for the terms.
//            Where a divergence comes out small, its row is read again in double by the formula's
//            centred term.
// backward   One reading, one writing: the row totals of d / d log were saved by forward.
//
// Compiled once per instruction set. Knows sources and the names score, term, slope_p, d_lq,
// centred; must not know any formula by name, tensors, threads, or torch. Read next: tables.inl.
#pragma once
#include "cpu/lanes.inl"

namespace torch_infotheory {
namespace {

// f(i, k) over the packs of a block, k = 0..3 in turn: four sums in flight hide the latency of an
// addition.
template <class A, class F>
TI_LANE void each_of_block(int64_t numbers, F f) {
  constexpr int64_t width = Pack<A>::width;
  int64_t i = 0;
  for (; i + 3 * width < numbers; i += 4 * width) {
    f(i, 0);
    f(i + width, 1);
    f(i + 2 * width, 2);
    f(i + 3 * width, 3);
  }
  for (; i < numbers; i += width) f(i, 0);
}
template <class A>
struct Accumulator {
  Pack<A> part[4];
  TI_LANE
  Accumulator() {  // written out: gcc gives an implicit constructor the baseline instruction set
    for (Pack<A>& x : part) x = Pack<A>(0);
  }
  TI_LANE void add(int k, Pack<A> x) { part[k] = part[k] + x; }
  TI_LANE Pack<A> total() const { return (part[0] + part[1]) + (part[2] + part[3]); }
  // Each block is summed in A and added in double, so that no sum of A is longer than a block.
  TI_LANE void flush_to(Wide<A>& sum) const {
    sum = map([](Pack<double> a, Pack<double> b) { return a + b; }, sum, Wide<A>(total()));
  }
};

// What a formula sums, lane by lane.
template <class A>
struct Sums {
  Wide<A> p, q, value, d_lp, d_lq;
  TI_LANE Sums() : p(0.), q(0.), value(0.), d_lp(0.), d_lq(0.) {}
};

template <class F, class A>
void fold_moments(const Block<A>& a, const Block<A>& b, int64_t numbers, Sums<A>& s) {
  Accumulator<A> p, q, value;
  each_of_block<A>(numbers, [&](int64_t i, int k) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = a.at(i), y = F::arity == 2 ? b.at(i) : x;
    p.add(k, x.p);
    if constexpr (F::arity == 2) q.add(k, y.p);
    if constexpr (F::linear) value.add(k, F::term(x, y));
  });
  p.flush_to(s.p);
  if constexpr (F::arity == 2) q.flush_to(s.q);
  if constexpr (F::linear) value.flush_to(s.value);
}
template <class F, class A>
void fold_terms(const Block<A>& a, const Block<A>& b, int64_t numbers, Sums<A>& s) {
  Accumulator<A> value, by_lp, by_lq;
  each_of_block<A>(numbers, [&](int64_t i, int k) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = a.at(i), y = b.at(i);
    value.add(k, F::term(x, y));
    by_lp.add(k, d_lp<F>(x, y));
    by_lq.add(k, F::d_lq(x, y));
  });
  value.flush_to(s.value);
  by_lp.flush_to(s.d_lp);
  by_lq.flush_to(s.d_lq);
}
template <class F, class A>
void fold_centred(const Block<A>& a, const Block<A>& b, int64_t numbers, Wide<A>& sum) {
  Accumulator<A> value;
  each_of_block<A>(numbers, [&](int64_t i, int k) __attribute__((always_inline)) {
    value.add(k, F::centred(a.at(i), b.at(i)));
  });
  value.flush_to(sum);
}

// The moments after their references moved by dp and dq: p falls by e^dp, q by e^dq, and every
// score by score(dp, dq).
template <class F, class A>
void move_references(Sums<A>& s, Pack<A> dp, Pack<A> dq) {
  using P = Pack<double>;
  const Wide<A> by_p(exp(dp)), by_q(exp(dq)), log_p(dp), log_q(dq);
  if constexpr (F::linear)
    s.value = map([](P v, P p, P e, P lp, P lq) { return times0(e, v + p * F::score(lp, lq)); },
                  s.value, s.p, by_p, log_p, log_q);
  s.p = map([](P v, P e) { return v * e; }, s.p, by_p);
  s.q = map([](P v, P e) { return v * e; }, s.q, by_q);
}

// Results of a team, one lane per row.
template <class A>
struct Results {
  Wide<A> value, zp, zq, d_lp, d_lq;
  Wide<A> mass_p, mass_q;  // the totals that p and q state; 1 for logits
  TI_LANE Results() : value(0.), zp(0.), zq(0.), d_lp(0.), d_lq(0.), mass_p(0.), mass_q(0.) {}
};

template <class A>
void share(Wide<A>& sum) {
  sum = Wide<A>(sum.total());
}

template <class F, class A>
Results<A> reduce(Pair<A>& rows) {
  using P = Pack<double>;
  Sums<A> s;
  {
    Block<A> a, b;
    rows.each_stretch([&](int64_t first, int64_t n) {
      const Pack<A> dp = rows.p.raise(rows.team, first, n),
                    dq = F::arity == 2 ? rows.q.raise(rows.team, first, n) : Pack<A>(0);
      if (first > 0 && (any(dp < Pack<A>(0), dp) || any(dq < Pack<A>(0), dq)))
        move_references<F>(s, dp, dq);
      rows.template fill<F::arity>(first, n, a, b);
      fold_moments<F>(a, b, rows.team.template numbers<A>(n), s);
    });
  }
  const bool dealt = !rows.team.lanes_are_rows;
  if (dealt) {  // one reference for all lanes, then one sum
    const Pack<A> p(highest(rows.p.high)), q(highest(rows.q.high));
    move_references<F>(s, Source<A>::moved(rows.p.high, p),
                       F::arity == 2 ? Source<A>::moved(rows.q.high, q) : Pack<A>(0));
    rows.p.high = p;
    rows.q.high = q;
    share(s.p), share(s.q), share(s.value);
  }
  const bool p_logits = rows.p.is_logits(), q_logits = F::arity == 2 && rows.q.is_logits();
  const auto log_total = [](bool logits, const Wide<A>& sum) {
    return logits ? map([](P x) { return log(x); }, sum) : Wide<A>(0.);
  };
  const Wide<A> log_p = log_total(p_logits, s.p), log_q = log_total(q_logits, s.q), one(1.),
                high_p(rows.p.high), high_q(rows.q.high);
  const auto plus = [](P a, P b) { return a + b; };
  Results<A> out;
  out.zp = map(plus, high_p, log_p);
  out.zq = map(plus, high_q, log_q);
  out.mass_p = p_logits ? one : s.p;
  out.mass_q = q_logits ? one : s.q;
  if constexpr (F::linear) {
    out.value = map(
        [](P v, P p, P total, P lp, P lq) { return (v + times0(p, F::score(-lp, -lq))) / total; },
        s.value, s.p, p_logits ? s.p : one, log_p, log_q);
    out.d_lp =
        map([](P v, P mass) { return v + mass * F::score(P(1), P(0)); }, out.value, out.mass_p);
    out.d_lq = map([](P mass) { return mass * F::score(P(0), P(1)); }, out.mass_p);
  } else {
    Sums<A> t;
    rows.normalise(out.zp, out.zq);
    rows.template each_block<F::arity>(
        [&](int64_t, int64_t n, const Block<A>& a, const Block<A>& b) {
          fold_terms<F>(a, b, rows.team.template numbers<A>(n), t);
        });
    if (dealt) share(t.value), share(t.d_lp), share(t.d_lq);
    out.value = t.value;
    out.d_lp = t.d_lp;
    out.d_lq = t.d_lq;
  }
  // A NaN must show even where its factor is 0.
  out.value =
      map([](P v, P p, P q) { return select(p + q == p + q, v, P(NAN)); }, out.value, s.p, s.q);
  return out;
}

// Below this a divergence has lost digits to cancellation: one reading in float is good to about
// 1e-6 at logits of scale 1 and 4e-5 at scale 30. The second number is what float adds to the
// rounding of the totals.
constexpr double kSmall = 0x1p-4, kRoundingOfSums = 1e-5;

// Whether p and q have one total, so that the centred term sums to the same value.
inline bool totals_agree(const Rows& r, double p, double q, double slack) {
  const double of_p = rounding_of_totals(r.p), of_q = rounding_of_totals(r.q);
  return fabs(p - q) <= ((of_p > of_q ? of_p : of_q) + slack) * (p > q ? p : q);
}

// The row at `at`, in double and by the centred term.
template <class F>
Results<double> reduce_small(const Rows& r, const Cursor& at) {
  Pair<double> row(r, /*lanes_are_rows=*/false);
  row.move_to(at, at.row + 1);
  Results<double> out = reduce<F>(row);
  if (!totals_agree(r, out.mass_p[0], out.mass_q[0], 0)) return out;
  Wide<double> sum(0.);
  row.normalise(out.zp, out.zq);
  row.each_block<2>([&](int64_t, int64_t n, const Block<double>& a, const Block<double>& b) {
    fold_centred<F>(a, b, row.team.numbers<double>(n), sum);
  });
  share(sum);
  out.value = sum;
  return out;
}

// ---- labels
// ----------------------------------------------------------------------------------------------------------
enum class Label { kNone, kCounts, kIgnored, kBad };

inline Label read_label(Rows& r, int64_t offset, int64_t& label) {
  if (r.p.kind != kLabels) return Label::kNone;
  label = label_at(r.p, offset);
  if (label == r.ignore_index) return Label::kIgnored;
  if (label >= 0 && label < r.classes) return Label::kCounts;
  __atomic_store_n(&r.bad_label, label, __ATOMIC_RELAXED);
  __atomic_store_n(&r.has_bad_label, true, __ATOMIC_RELAXED);
  return Label::kBad;
}

// The labels of a team's rows, and q at each of them.
template <class A>
struct Labels {
  static constexpr int width = Pack<A>::width;
  Label kind[width];
  int64_t label[width];
  double log_q[width], peak[width], background[width];

  Labels(Rows& r, const Cursor& at, const Pair<A>& rows) {
    for (int j = 0; j < width; ++j) {
      kind[j] = j < rows.team.rows ? read_label(r, at.p + j * row_stride(r, r.p), label[j])
                                   : Label::kNone;
      log_q[j] = peak[j] = background[j] = 0;
      if (kind[j] != Label::kCounts) continue;
      peak[j] = rows.target.peak(label[j]);
      background[j] = rows.target.background(label[j]);
    }
  }
  bool counts(int j) const { return kind[j] == Label::kNone || kind[j] == Label::kCounts; }
  // log q at the labels, given the normalisers.
  Prob<Wide<A>> q_at(const Rows& r, const Cursor& at, const Wide<A>& zq) {
    for (int j = 0; j < width; ++j)
      if (kind[j] == Label::kCounts)
        log_q[j] = load_number(r.q, at.q + j * row_stride(r, r.q) + label[j] * r.q.class_stride);
    Wide<A> log_at(log_q);
    if (r.q.kind == kLogits)
      log_at = map([](Pack<double> x, Pack<double> z) { return x - z; }, log_at, zq);
    return {map([](Pack<double> x) { return exp(x); }, log_at), log_at};
  }
};

// ---- the two kernels of a formula
// ------------------------------------------------------------------------------------
template <class F, class A>
void write_terms(const Rows& r, const Cursor& at, const Pair<A>& row) {
  const Write<A> out = writer<A>(r.value.type);
  char* to = static_cast<char*>(const_cast<void*>(r.value.data)) + at.value * size_of(r.value.type);
  alignas(64) A terms[kBlock];
  row.template each_block<F::arity>(
      [&](int64_t first, int64_t n, const Block<A>& a, const Block<A>& b) {
        for (int64_t i = 0; i < n; i += Pack<A>::width) {
          const Prob<Pack<A>> x = a.at(i), y = F::arity == 2 ? b.at(i) : x;
          const Pack<A> total = x.p + y.p, term = F::term(x, y) * Pack<A>(r.scale);
          store(terms + i,
                select(total == total, term, Pack<A>(NAN)));  // as in reduce: a NaN must show
        }
        out(terms, to + first * r.value.class_stride * size_of(r.value.type),
            Walk::along_classes<A>(r.value.class_stride, n));
      });
}

// Row j of the team: lane `lane` of the results.
template <class F, class A>
void keep(const Rows& r, const Cursor& at, int64_t j, const Results<A>& x, int64_t lane) {
  const Wide<A>* const kept[] = {&x.zp, &x.d_lp, &x.zq, &x.d_lq};
  for (int i = 0; i < 2 * F::arity; ++i) r.saved[i * r.rows + at.row + j] = (*kept[i])[lane];
  if (r.pointwise()) return;
  if (r.row_values)
    r.row_values[at.row + j] = x.value[lane];
  else
    store_number(r.value, at.value + j * row_stride(r, r.value), x.value[lane] * r.scale);
}

template <class F, class A>
void forward(Rows& r, int64_t begin, int64_t end, double*) {
  using P = Pack<double>;
  const bool reads = r.p.kind != kLabels || r.label_smoothing != 0 || r.q.kind == kLogits;
  Pair<A> rows(r, reads ? Team::pays(r) : r.rank > 0);
  for (Cursor at(r, begin); at.row < end; at.skip(rows.team.rows)) {
    rows.move_to(at, end);
    Results<A> out;
    if (r.pointwise())
      write_terms<F>(r, at, rows);
    else if (reads)
      out = reduce<F>(rows);
    Labels<A> labels(r, at, rows);
    if (r.p.kind == kLabels) {
      const Prob<Wide<A>> q = labels.q_at(r, at, out.zq);
      const Wide<A> peak(labels.peak);
      const auto term = [](P v, P p, P qp, P lq) {
        return v + F::term(Prob<P>{p, P(0)}, Prob<P>{qp, lq});
      };
      const auto slope = [](P v, P p, P qp, P lq) {
        return v + F::d_lq(Prob<P>{p, P(0)}, Prob<P>{qp, lq});
      };
      out.value = map(term, out.value, peak, q.p, q.log);
      out.d_lq = map(slope, out.d_lq, peak, q.p, q.log);
    }
    for (int64_t j = 0; j < rows.team.rows; ++j) {
      bool small = false;
      if constexpr (F::divergence)
        small = out.value[j] < kSmall && !r.elementwise &&
                totals_agree(r, out.mass_p[j], out.mass_q[j], kRoundingOfSums);
      if (!labels.counts(int(j))) {
        keep<F>(r, at, j, Results<double>(), 0);
      } else if (small) {
        Cursor row = at;
        row.skip(j);
        if constexpr (F::divergence) keep<F>(r, at, j, reduce_small<F>(r, row), 0);
      } else {
        keep<F>(r, at, j, out, j);
      }
    }
  }
}

// d / d x of a block, and x by its kind.
template <class A>
using Chain = void (*)(const Block<A>& a, const Block<A>& b, int64_t numbers, Pack<A> total,
                       Pack<A> scale, A* out);
template <class F, class A, Kind kind, bool by_q>
void chain(const Block<A>& a, const Block<A>& b, int64_t numbers, Pack<A> total, Pack<A> scale,
           A* out) {
  for (int64_t i = 0; i < numbers; i += Pack<A>::width) {
    const Prob<Pack<A>> x = a.at(i), y = F::arity == 2 ? b.at(i) : x;
    if constexpr (by_q)
      store(out + i, gradient_by_q<F, kind>(x, y, total) * scale);
    else
      store(out + i, gradient_by_p<F, kind>(x, y, total) * scale);
  }
}
template <class F, class A, bool by_q>
Chain<A> chain_of(Kind kind) {
  switch (kind) {
    case kLogits:
      return chain<F, A, kLogits, by_q>;
    case kLogProbs:
      return chain<F, A, kLogProbs, by_q>;
    default:
      return chain<F, A, kProbs, by_q>;
  }
}

template <class F, class A, bool by_q>
void write_gradient(Rows& r, int64_t begin, int64_t end) {
  constexpr int width = Pack<A>::width;
  const Operand& x = by_q ? r.q : r.p;
  const Chain<A> chain = chain_of<F, A, by_q>(x.kind);
  const Write<A> out = writer<A>(r.gradient.type);
  const Read<A> read_g = reader<A>(kLogProbs, r.g.type);
  const int64_t size = size_of(r.gradient.type), g_size = size_of(r.g.type),
                lane = row_stride(r, r.gradient);
  alignas(64) A d[kBlock];
  Block<A> g;
  Pair<A> rows(r, Team::pays(r));
  for (Cursor at(r, begin); at.row < end; at.skip(rows.team.rows)) {
    rows.move_to(at, end);
    const Team& team = rows.team;
    Labels<A> labels(r, at, rows);
    double zp[width] = {}, zq[width] = {}, total[width] = {}, scale[width] = {};
    const int64_t lanes = team.lanes_are_rows ? team.rows : width;
    bool any_counts = false, all_count = true;
    for (int64_t j = 0; j < lanes; ++j) {
      const int64_t row = team.lanes_are_rows ? j : 0;
      const double* saved = r.saved + at.row + row;
      zp[j] = saved[0];
      zq[j] = F::arity == 2 ? saved[2 * r.rows] : 0;
      total[j] = saved[(by_q ? 3 : 1) * r.rows];
      scale[j] =
          r.g_per_class ? r.scale : r.scale * load_number(r.g, at.g + row * row_stride(r, r.g));
      any_counts |= labels.counts(int(row));
      all_count &= labels.counts(int(row));
    }
    const Wide<A> z_of_q(zq);
    rows.normalise(Wide<A>(zp), z_of_q);
    const Pack<A> row_total = Wide<A>(total).narrowed(), row_scale = Wide<A>(scale).narrowed();
    const bool reads = any_counts && (rows.target.dense || r.q.kind == kLogits);
    char* to = static_cast<char*>(const_cast<void*>(r.gradient.data)) + at.gradient * size;
    Block<A> a, b;
    rows.each_stretch([&](int64_t first, int64_t n) {
      const int64_t numbers = team.numbers<A>(n);
      if (reads) {
        rows.template fill<F::arity>(first, n, a, b);
        chain(a, b, numbers, row_total, row_scale, d);
        if constexpr (!by_q) rows.target.chain(team, d, first, n);
        if (r.g_per_class) {
          const Walk walk = Walk::along_classes<A>(r.g.class_stride, n);
          read_g(static_cast<const char*>(r.g.data) + (at.g + first * r.g.class_stride) * g_size,
                 walk, Pack<A>(0), Pack<A>(0), g);
          for (int64_t i = 0; i < numbers; i += width)
            store(d + i, load<A>(d + i) * load<A>(g.log + i));
        }
      }
      if (!reads || !all_count)
        for (int64_t i = 0; i < numbers; ++i)
          if (!reads || !labels.counts(team.lanes_are_rows ? int(i % width) : 0)) d[i] = 0;
      out(d, to + first * r.gradient.class_stride * size,
          team.walk<A>(r.gradient.class_stride, lane, n));
    });
    if constexpr (by_q) {
      if (r.p.kind != kLabels) continue;
      const Prob<Wide<A>> q = labels.q_at(r, at, z_of_q);
      double log_q[width], p_of_q[width];
      q.log.store_lanes(log_q);
      q.p.store_lanes(p_of_q);
      for (int64_t j = 0; j < team.rows; ++j) {
        if (labels.kind[j] != Label::kCounts) continue;
        const Prob<double> p{labels.peak[j] + labels.background[j], 0},
            at_label{p_of_q[j], log_q[j]};
        const double w = r.q.kind == kLogits ? gradient_by_q<F, kLogits>(p, at_label, total[j])
                                             : gradient_by_q<F, kLogProbs>(p, at_label, total[j]);
        store_number(r.gradient, at.gradient + j * lane + labels.label[j] * r.gradient.class_stride,
                     scale[j] * w);
      }
    }
  }
}
template <class F, class A>
void backward(Rows& r, int64_t begin, int64_t end, double*) {
  if constexpr (F::arity == 2) {
    if (r.by_q) return write_gradient<F, A, true>(r, begin, end);
  }
  write_gradient<F, A, false>(r, begin, end);
}

template <class... F>
const RowKernels* row_kernels(List<F...>) {
  static constexpr RowKernels table[] = {
      {{forward<F, float>, forward<F, double>}, {backward<F, float>, backward<F, double>}}...};
  return table;
}

}  // namespace
}  // namespace torch_infotheory
