// backward.h -- the derivatives of rows, in one pass.
//
// The totals that forward saved make the derivative of each class independent of the others.
#pragma once
#include "cpu/rows/fold.h"
#include "cpu/rows/labels.h"

namespace torch_infotheory {
namespace {

// Where the derivatives of a block go: to the gradient in memory, or to a buffer of whole packs.
template <class A>
struct GradientSink {
  A* to;
  AccessPattern pattern;
  bool padded;
  int64_t whole() const { return padded ? pattern.packs : pattern.whole(Pack<A>::width); }
  template <bool whole>
  TI_LANE void store(int64_t pack, std::bool_constant<whole>, Pack<A> v) const {
    A* at = to + pack * pattern.step;
    if (whole || padded)
      torch_infotheory::store(at, v);
    else
      store_lanes(at, 1, pattern.lanes(pack), v);
  }
};

// The vector-Jacobian product of a block: d / d x for x of some kind.
template <class F, Kind kind, bool by_q, class OfRow, class A, class P, class Q>
TI_LANE void vjp(const OfRow& f, const P& p, const Q& q, int64_t packs, int64_t whole,
                 Pack<A> total, Pack<A> scale, const GradientSink<A>& out) {
  const int64_t both = whole < out.whole() ? whole : out.whole();
  each_pack(packs, both, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
    const Prob<Pack<A>> x = p.at(i, w), y = F::arity == 2 ? q.at(i, w) : x;
    if constexpr (by_q)
      out.store(i, w, gradient_by_q<kind>(f, x, y, total) * scale);
    else
      out.store(i, w, gradient_by_p<kind>(f, x, y, total) * scale);
  });
}

// What backward needs of a range of rows, and the gradient of the classes that labels name.
template <class F, class A, bool by_q>
struct SavedOfRange {
  Rows& r;
  const Target<A> target;
  Labels labels;
  // The log-normalizers, the total of d / d log, and the incoming gradient.
  double high_p[RowRange::most] = {}, log_p[RowRange::most] = {}, high_q[RowRange::most] = {},
         log_q[RowRange::most] = {}, total[RowRange::most] = {}, scale[RowRange::most];

  explicit SavedOfRange(Rows& rows) : r(rows), target(rows) {}
  // Moves to a range of rows, of which the classes in [first, last) will be written.
  void move_to(const RowRange& range, int64_t first, int64_t last) {
    labels.read(r, range, target);
    // Before any class is written, because the gradient may replace the logits.
    if constexpr (by_q && takes_labels<F>) labels.look_up_within(r, range, first, last);
    const auto load_saved = [&](int operand, Saved number, double* to) {
      __builtin_memcpy(to, r.saved_of(operand, number) + range.at.row, range.n * sizeof(double));
    };
    if (r.saved) {
      load_saved(0, kHigh, high_p), load_saved(0, kLogSum, log_p);
      if constexpr (F::arity == 2) load_saved(1, kHigh, high_q), load_saved(1, kLogSum, log_q);
      load_saved(by_q, kTotal, total);
    }
    if (r.g_per_class)
      for (int64_t j = 0; j < range.n; ++j) scale[j] = r.scale;
    else
      load_row_gradients(r, range, scale);
  }
  // Writes the classes in [first, last) that the labels name.
  void write_label_terms(const RowRange& range, int64_t first, int64_t last) {
    if constexpr (by_q && takes_labels<F>)
      if (r.p.kind == kLabels) {
        using V = Pack<double>;
        const bool logits = r.q.kind == kLogits;
        const double at_label = target.smoothing.kept + target.smoothing.spread;
        double d[RowRange::most];
        labels.each(at_label, logits, {high_q, log_q},
                    [&](int64_t j, const Prob<V>& p, const Prob<V>& q)
                        __attribute__((always_inline)) {
                          const V of_row = load<double>(total + j);
                          const V w = logits ? gradient_by_q<kLogits>(F(), p, q, of_row)
                                             : gradient_by_q<kLogProbs>(F(), p, q, of_row);
                          store(d + j, load<double>(scale + j) * w);
                        });
        if (!labels.all_count) clear_where_zero(d, labels.counting, range.n);
        const Operand& to = r.gradient;
        const int64_t lines = row_stride(r, to);
        with_type<double>(to.type, [&](auto tag) {
          auto* x = static_cast<typename decltype(tag)::type*>(const_cast<void*>(to.data)) +
                    range.at.gradient;
          labels.each_within(first, last, r.classes, [&](int64_t j, int64_t label) {
            store_at(x + j * lines + label * to.class_stride, d[j]);
          });
        });
      }
  }
};

// The gradient of a row group.
template <class F, class A, bool by_q>
struct Gradient {
  static constexpr int width = Pack<A>::width;
  Rows& r;
  Pair<A> rows;
  const SavedOfRange<F, A, by_q>& saved;
  int64_t gradient = 0, g = 0;  // offsets of its rows
  const Operand& to;
  A* panel;  // or null
  CopyPanel<A> store_panel;
  Write<A> write;
  Convert<A> convert_g;
  Pack<A> total, scale, counting, log_p_sum{0};
  bool all_count = true, any_counts = true;

  Gradient(Rows& all, bool lanes_are_rows, A* panel_p, A* panel_q, A* panel_out,
           const SavedOfRange<F, A, by_q>* of_range)
      : r(all),
        rows(all, lanes_are_rows, panel_for(all.p, panel_p), panel_for(all.q, panel_q)),
        saved(*of_range),
        to(all.gradient),
        panel(uses_panel(rows.group, all) ? panel_for(to, panel_out) : nullptr),
        store_panel(panel_storer<A>(to.type)),
        write(writer<A>(to.type)),
        convert_g(converter<A>(all.g.type)),
        total(0),
        scale(0),
        counting(1) {
    // The slope by p of a linear formula depends on logarithms alone.
    if constexpr (F::linear && F::arity == 2 && !by_q) rows.q.read_logarithms();
  }

  bool has_panels() const { return rows.has_panels() || panel; }
  char* memory(int64_t first) const {
    return static_cast<char*>(const_cast<void*>(to.data)) +
           (gradient + first * to.class_stride) * size_of(to.type);
  }
  AccessPattern pattern(int64_t n) const {
    return rows.group.lanes_are_rows
               ? AccessPattern::along_rows(to.class_stride, row_stride(r, to), n, rows.group.rows)
               : AccessPattern::along_classes(to.class_stride, n, width);
  }
  // Moves to the rows of a range from row j on.
  void move_to(const RowRange& range, int64_t j) {
    gradient = range.at.gradient + j * row_stride(r, to);
    g = range.at.g + j * row_stride(r, r.g);
    rows.move_to(range, j);
    const auto lanes = [&](const double* numbers) {
      return in_lanes<A>(rows.group, numbers + j).narrowed();
    };
    total = lanes(saved.total);
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
    const bool plain = all_count && !r.g_per_class && (by_q || rows.target.is_plain);
    const AccessPattern there = pattern(n);
    if (plain && !panel && to.type == own_type<A> && there.lane == 1)
      return vjp(first, n, {reinterpret_cast<A*>(memory(first)), there, false});
    alignas(64) A buffer[kBlock];
    A* d = panel ? panel + first * width : buffer;
    const int64_t packs = rows.group.template packs<A>(n);
    if (any_counts) vjp(first, n, {d, {width, 1, packs, width, width}, true});
    if (!plain) mask_and_weight(first, n, d);
    if (!panel) write(d, memory(first), there);
  }
  void flush() {
    if (panel)
      store_panel({memory(0), to.class_stride, row_stride(r, to), r.classes, rows.group.rows},
                  panel);
  }

 private:
  // There is one pass, so that contiguous rows gain nothing from a panel.
  A* panel_for(const Operand& x, A* memory) const {
    return row_stride(r, x) == 1 ? nullptr : memory;
  }
  void vjp(int64_t first, int64_t n, const GradientSink<A>& out) {
    Pack<A> row_total = total;
    const auto f = of_row(formula<F>(r.parameter), by_q, log_p_sum, row_total);
    rows.template fold<F>(first, n,
                          [&](const auto& p, const auto& q, int64_t packs, int64_t whole)
                              __attribute__((always_inline)) {
                                const auto by = [&]<Kind kind>() __attribute__((always_inline)) {
                                  torch_infotheory::vjp<F, kind, by_q>(f, p, q, packs, whole,
                                                                       row_total, scale, out);
                                };
                                if constexpr (by_q)
                                  as_kind(q, rows.q.kind, by);
                                else
                                  as_kind(p, rows.p.kind, by);
                              });
  }
  // Class weights, an incoming gradient for each class, and rows that do not count.
  void mask_and_weight(int64_t first, int64_t n, A* d) const {
    if constexpr (!by_q) rows.target.vjp(rows.group, d, first, n);
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

template <class F, class A, bool by_q>
void write_gradient(Rows& r, int64_t begin, int64_t end) {
  SavedOfRange<F, A, by_q> saved(r);
  if (r.segment) {
    Gradient<F, A, by_q> group(r, false, nullptr, nullptr, nullptr, &saved);
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
  Workspace<A> panels;
  RowGroups<Gradient<F, A, by_q>> groups(r, RowGroup::prefers_rows(r), panels.p.data, panels.q.data,
                                         panels.out.data, &saved);
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
