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
  if (picks(r)) return pick<F, A>(r, begin, end);
  Pair<A> rows(r, Team::pays(r));
  for (Cursor at(r, begin); at.row < end; at.skip(rows.team.rows)) {
    rows.move_to(at, end);
    Results<A> out;
    if (r.pointwise())
      write_terms<F>(r, at, rows);
    else
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
  if (picks(r)) return scatter<F, A>(r, begin, end);
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
    char* to = static_cast<char*>(const_cast<void*>(r.gradient.data)) + at.gradient * size;
    Block<A> a, b;
    rows.each_stretch([&](int64_t first, int64_t n) {
      const int64_t numbers = team.numbers<A>(n);
      if (any_counts) {
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
      if (!all_count)
        for (int64_t i = 0; i < numbers; ++i)
          if (!labels.counts(team.lanes_are_rows ? int(i % width) : 0)) d[i] = 0;
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
