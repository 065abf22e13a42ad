// backward.h -- the derivatives of rows, in one pass.
//
// The totals that forward saved make the derivative of each class independent of the others.
#pragma once
#include "cpu/rows/gradient_output.h"
#include "cpu/rows/labels.h"

namespace torch_infotheory {
namespace {

// The vector-Jacobian products of a block: d / d x for p and q of some kind.
template <class F, Kind kind, Wrt wrt, class OfRow, class A, class P, class Q>
TI_LANE void vjp(const OfRow& f, const P& p, const Q& q, int64_t packs, int64_t whole,
                 Slopes<Pack<A>> total, Pack<A> scale, const GradientSink<A>& by_p,
                 const GradientSink<A>& by_q) {
  const int64_t whole_p = wrt == kWrtQ ? whole : by_p.whole(),
                whole_q = wrt == kWrtP ? whole : by_q.whole();
  whole = whole_p < whole ? whole_p : whole;
  whole = whole_q < whole ? whole_q : whole;
  each_pack(packs, whole, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = p.at(i, w), y = F::arity == 2 ? q.at(i, w) : x;
    if constexpr (wrt == kWrtP) {
      by_p.store(i, w, gradient_by_p<kind>(f, x, y, total.by_p) * scale);
    } else if constexpr (wrt == kWrtQ) {
      by_q.store(i, w, gradient_by_q<kind>(f, x, y, total.by_q) * scale);
    } else {
      const Slopes<Pack<A>> d = gradient_by_both<kind>(f, x, y, total.by_p, total.by_q);
      const Pack<A> d_p = d.by_p * scale, d_q = d.by_q * scale;
      by_p.store(i, w, d_p);
      by_q.store(i, w, d_q);
    }
  });
}

// What backward needs of a range of rows, and the gradient of the classes that labels name.
template <class F, class A, Wrt wrt>
struct SavedOfRange {
  static constexpr bool has_label_terms = wrt == kWrtQ && takes_labels<F>;
  Rows& r;
  const Target<A> target;
  Labels labels;
  // The log-normalizers, the totals of d / d log, and the incoming gradient.
  double high_p[RowRange::most] = {}, log_p[RowRange::most] = {}, high_q[RowRange::most] = {},
         log_q[RowRange::most] = {}, total_p[RowRange::most] = {}, total_q[RowRange::most] = {},
         scale[RowRange::most];

  explicit SavedOfRange(Rows& rows) : r(rows), target(rows) {}
  // Moves to a range of rows, of which the classes in [first, last) will be written.
  void move_to(const RowRange& range, int64_t first, int64_t last) {
    labels.read(r, range, target);
    // Before any class is written, because the gradient may replace the logits.
    if constexpr (has_label_terms) labels.look_up_within(r, range, first, last);
    const auto load_saved = [&](int operand, Saved number, double* to) {
      __builtin_memcpy(to, r.saved_of(operand, number) + range.at.row, range.n * sizeof(double));
    };
    if (r.saved) {
      load_saved(0, kHigh, high_p), load_saved(0, kLogSum, log_p);
      if constexpr (F::arity == 2) load_saved(1, kHigh, high_q), load_saved(1, kLogSum, log_q);
      if constexpr (wrt != kWrtQ) load_saved(0, kTotal, total_p);
      if constexpr (wrt != kWrtP) load_saved(1, kTotal, total_q);
    }
    if (r.g_per_class)
      for (int64_t j = 0; j < range.n; ++j) scale[j] = r.scale;
    else
      load_row_gradients(r, range, scale);
  }
  // Writes the classes in [first, last) that the labels name.
  void write_label_terms(const RowRange& range, int64_t first, int64_t last) {
    if constexpr (has_label_terms)
      if (r.p.kind == kLabels) {
        using V = Pack<double>;
        const bool logits = r.q.kind == kLogits;
        const double at_label = target.smoothing.kept + target.smoothing.spread;
        double d[RowRange::most];
        labels.each(at_label, logits, {high_q, log_q},
                    [&](int64_t j, const Prob<V>& p, const Prob<V>& q)
                        __attribute__((always_inline)) {
                          const V of_row = load<double>(total_q + j);
                          const V w = logits ? gradient_by_q<kLogits>(F(), p, q, of_row)
                                             : gradient_by_q<kLogProbs>(F(), p, q, of_row);
                          store(d + j, load<double>(scale + j) * w);
                        });
        if (!labels.all_count) clear_where_zero(d, labels.counting, range.n);
        const Operand& to = r.gradients[kWrtQ];
        const int64_t lines = row_stride(r, to);
        with_type<double>(to.type, [&](auto tag) {
          auto* x = static_cast<typename decltype(tag)::type*>(const_cast<void*>(to.data)) +
                    range.at.gradients[kWrtQ];
          labels.each_within(first, last, r.classes, [&](int64_t j, int64_t label) {
            store_at(x + j * lines + label * to.class_stride, d[j]);
          });
        });
      }
  }
};

// The gradients of a row group.
template <class F, class A, Wrt wrt>
struct Gradient {
  static constexpr bool by_p = wrt != kWrtQ, by_q = wrt != kWrtP;
  static constexpr int width = Pack<A>::width;
  Rows& r;
  const F& f;
  Pair<A> rows;
  const SavedOfRange<F, A, wrt>& saved;
  GradientOutput<A> out_p, out_q;
  int64_t g = 0;  // the offset of its rows
  Convert<A> convert_g;
  Pack<A> total_p, total_q, scale, counting, log_p_sum{0};
  bool all_count = true, any_counts = true;

  Gradient(Rows& all, const F* formula, bool lanes_are_rows, Workspace<A>* panels,
           const SavedOfRange<F, A, wrt>* of_range)
      : r(all),
        f(*formula),
        rows(all, lanes_are_rows, panel_for(all.p, panels->p), panel_for(all.q, panels->q)),
        saved(*of_range),
        out_p(all, kWrtP, rows.group, panels->by_p.data),
        out_q(all, kWrtQ, rows.group, panels->by_q.data),
        convert_g(converter<A>(all.g.type)),
        total_p(0),
        total_q(0),
        scale(0),
        counting(1) {
    // The slope by p of a linear formula depends on logarithms alone.
    if constexpr (F::linear && F::arity == 2 && !by_q) rows.q.read_logarithms();
  }

  bool has_panels() const {
    return rows.has_panels() || (by_p && out_p.panel) || (by_q && out_q.panel);
  }
  // Moves to the rows of a range from row j on.
  void move_to(const RowRange& range, int64_t j) {
    g = range.at.g + j * row_stride(r, r.g);
    rows.move_to(range, j);
    const auto lanes = [&](const double* numbers) {
      return in_lanes<A>(rows.group, numbers + j).narrowed();
    };
    if constexpr (by_p) out_p.move_to(range, j), total_p = lanes(saved.total_p);
    if constexpr (by_q) out_q.move_to(range, j), total_q = lanes(saved.total_q);
    if (is_log_sum<F> && r.p.kind != kLogits) log_p_sum = lanes(saved.log_p);
    scale = lanes(saved.scale);
    all_count = saved.labels.all_count, any_counts = saved.labels.any_counts;
    if (!all_count) {
      counting = lanes(saved.labels.counting);
      any_counts = any(counting > Pack<A>(0), counting);
    }
    rows.normalize({saved.high_p + j, saved.log_p + j}, {saved.high_q + j, saved.log_q + j});
  }
  void write_block(int64_t first, int64_t n) {
    const bool plain = all_count && !r.g_per_class;
    alignas(64) A buffer_p[kBlock], buffer_q[kBlock];
    const GradientSink<A> to_p = out_p.sink(rows.group, first, n, plain && rows.target.is_plain,
                                            buffer_p),
                          to_q = out_q.sink(rows.group, first, n, plain, buffer_q);
    if (any_counts) vjp(first, n, to_p, to_q);
    if (by_p && to_p.padded) {
      rows.target.vjp(rows.group, to_p.to, first, n);
      if (!plain) mask_and_weight(first, n, to_p.to);
      out_p.write_block(rows.group, first, n, to_p.to);
    }
    if (by_q && to_q.padded) {
      if (!plain) mask_and_weight(first, n, to_q.to);
      out_q.write_block(rows.group, first, n, to_q.to);
    }
  }
  void flush() {
    if constexpr (by_p) out_p.flush(rows.group);
    if constexpr (by_q) out_q.flush(rows.group);
  }

 private:
  // There is one pass, so that contiguous rows gain nothing from a panel.
  A* panel_for(const Operand& x, Panel<A>& memory) const {
    return row_stride(r, x) == 1 ? nullptr : memory.data;
  }
  void vjp(int64_t first, int64_t n, const GradientSink<A>& to_p, const GradientSink<A>& to_q) {
    const auto of = of_row(f, by_p ? total_p : total_q, log_p_sum);
    const Slopes<Pack<A>> total{total_of_row(f, false, total_p), total_of_row(f, true, total_q)};
    rows.template fold<F>(first, n,
                          [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
                              __attribute__((always_inline)) {
                                const auto by = [&]<Kind kind>() __attribute__((always_inline)) {
                                  torch_infotheory::vjp<F, kind, wrt>(of, p, q, packs, whole, total,
                                                                      scale, to_p, to_q);
                                };
                                if constexpr (by_q)
                                  as_kind(q, rows.q.kind, by);
                                else
                                  as_kind(p, rows.p.kind, by);
                              });
  }
  // An incoming gradient for each class, and rows that do not count.
  void mask_and_weight(int64_t first, int64_t n, A* d) const {
    const int64_t numbers = rows.group.template packs<A>(n) * width;
    if (r.g_per_class) {
      alignas(64) A by[kBlock];
      convert_g(
          static_cast<const char*>(r.g.data) + (g + first * r.g.class_stride) * size_of(r.g.type),
          AccessPattern::along_classes(r.g.class_stride, n, width), by);
      for (int64_t i = 0; i < numbers; i += width) store(d + i, load<A>(d + i) * load<A>(by + i));
    }
    if (all_count) return;
    for (int64_t i = 0; i < numbers; i += width)
      store(d + i, select(counting == Pack<A>(0), Pack<A>(0), load<A>(d + i)));
  }
};

template <class F, class A, Wrt wrt>
void write_gradients(Rows& r, int64_t begin, int64_t end) {
  const F f = formula<F>(r.parameter);
  SavedOfRange<F, A, wrt> saved(r);
  Workspace<A> panels;
  if (r.segment) {
    Gradient<F, A, wrt> group(r, &f, false, &panels, &saved);
    return each_segment(r, begin, end, [&](int64_t row, int64_t, int64_t first, int64_t last) {
      const RowIterator at(r, row);
      const RowRange range{at, 1};
      saved.move_to(range, first, last);
      group.move_to(range, 0);
      each_block(last - first, kBlock,
                 [&](int64_t from, int64_t n) { group.write_block(first + from, n); });
      saved.write_label_terms(range, first, last);
    });
  }
  RowGroups<Gradient<F, A, wrt>> groups(r, &f, RowGroup::prefers_rows(r), &panels, &saved);
  each_range(r, begin, end, [&](const RowRange& range) {
    saved.move_to(range, 0, r.classes);
    for (int64_t j = 0; j < range.n;) {
      const int n = groups.move_to(range, j);
      groups.group[0].rows.each_block([&](int64_t first, int64_t classes) {
        for (int i = 0; i < n; ++i) groups.group[i].write_block(first, classes);
      });
      for (int i = 0; i < n; ++i) groups.group[i].flush();
    }
    saved.write_label_terms(range, 0, r.classes);
  });
}

}  // namespace
}  // namespace torch_infotheory
