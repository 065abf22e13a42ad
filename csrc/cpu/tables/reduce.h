// reduce.h -- joint tables, forward and backward, for every formula of JointExpectation.
//
// Scores are linear, so that E[score(log p(x,y), log p(x), log p(y))] is the score of three
// expectations: one pass over the cells gives the first of them and the marginals, and the
// marginals give the other two. Logits are read once before, for their normalizer; a mutual
// information that comes out small is computed again in double by its centered term. Backward
// recomputes the marginals.
#pragma once
#include "cpu/rows/outputs.h"
#include "cpu/tables/small_table.h"
#include "cpu/tables/table.h"

namespace torch_infotheory {
namespace {

// The value of the table at offset `at`, in double. The centered terms sum to the value plus T^2 -
// T, because the product of marginals that total T totals T^2; this is 0 where T is 1 up to the
// rounding of the cells.
template <class F>
double centered_value(const Rows& r, int64_t at, double* scratch) {
  using P = Pack<double>;
  Table<double> table(r, scratch);
  table.move_to(at);
  table.find_normalizer();
  table.reduce_cells<true>();
  const double total = sum(table.total).value(), product = total * total;
  const bool agree = r.p.kind == kLogits || totals_agree(rounding_of_totals(r.p), total, product);
  double value = agree ? 0 : total - product;
  for (int64_t x = 0; x < r.x_classes; ++x)
    table.fold_line(x, [&](int64_t first, const auto& cells, int64_t packs,
                           int64_t whole) __attribute__((always_inline)) {
      FourWay<double> part;
      const P lx(table.px[x]);
      each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
        const P log_product = lx + load<double>(table.by_y + first + i * P::width);
        part.add(k, F::centered(cells.at(i, w), Prob<P>{exp(log_product), log_product}));
      });
      value += sum(part.total());
    });
  return value;
}

// Stores the value of a table and saves what backward needs.
template <class F, class A>
void save_table(Rows& r, const RowIterator& at, int64_t j, double z_high, double z_log,
                double total, double value, double* scratch) {
  r.saved_of(0, kHigh)[at.row + j] = z_high;
  r.saved_of(0, kLogSum)[at.row + j] = z_log;
  r.saved_of(0, kTotal)[at.row + j] = value + total * F::score(1., 1., 1.);
  if constexpr (F::divergence) {
    const double product = total * total, rounding = rounding_of_totals(r.p);
    if (totals_agree(rounding, total, product)) value += product - total;
    if (value < small_value<F, A>() && totals_agree(rounding + kRoundingOfSums, total, product))
      value = centered_value<F>(r, at.p + j * row_stride(r, r.p), scratch);
  }
  if (total != total) value = NAN;
  if (r.row_values)
    add_up(r, r.row_values, at.row + j, &value, 1);
  else
    store_number(r.value, at.value + j * row_stride(r, r.value), value * r.scale);
}

template <class F, class A>
void reduce_small_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  SmallTables<A> tables(r);
  double value[SmallTables<A>::width], total[SmallTables<A>::width];
  const auto reduce_group = [&](const RowRange& range, int64_t first) {
    tables.move_to(range, first);
    tables.find_normalizers();
    tables.normalize();
    tables.find_marginals();
    // Scores are summed and not the three logarithms, because these sums are larger and round more.
    Pack<A> sum(0);
    tables.each_cell([&]<Kind>(int64_t, Prob<Pack<A>> cell, Pack<A> lx, Pack<A> ly)
                         __attribute__((always_inline)) {
                           sum = sum + times0(cell.p, F::score(cell.log, lx, ly));
                         });
    InDouble<A>(sum).store_lanes(value);
    InDouble<A>(tables.total).store_lanes(total);
    for (int64_t j = 0; j < tables.group.rows; ++j)
      save_table<F, A>(r, range.at, first + j, tables.z_high[j], tables.z_log[j], total[j],
                       value[j], scratch);
  };
  each_range(r, begin, end, [&](const RowRange& range) {
    for (int64_t j = 0; j < range.n; j += tables.group.rows) reduce_group(range, j);
  });
}

// The cells of logits total 1; what their sum differs from it is the error of the normalizer.
template <class F, class A>
double value_of(const Table<A>& table, DoubleDouble<double> total) {
  const double value = sum(F::score(table.sum_xy, table.sum_x, table.sum_y)).value();
  if (table.r.p.kind != kLogits) return value;
  const double excess = (total + -1.).value();
  return (value - excess * F::score(1., 1., 1.)) / (1 + excess);
}

template <class F, class A>
void reduce_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  Table<A> table(r, scratch);
  for (RowIterator at(r, begin); at.row < end; at.next()) {
    table.move_to(at.p);
    table.find_normalizer();
    table.template reduce_cells<true>();
    const DoubleDouble<double> total = sum(table.total);
    save_table<F, A>(r, at, 0, table.z_high, table.z_log, total.value(), value_of<F>(table, total),
                     scratch);
  }
}

template <class F, class A>
void write_small_tables(Rows& r, int64_t begin, int64_t end) {
  SmallTables<A> tables(r);
  const CopyPanel<A> store_panel = panel_storer<A>(r.gradients[kWrtP].type);
  const int64_t step = row_stride(r, r.gradients[kWrtP]), size = size_of(r.gradients[kWrtP].type);
  double total[SmallTables<A>::width] = {}, scale[SmallTables<A>::width] = {};
  const auto write_group = [&](const RowRange& range, int64_t first) {
    tables.move_to(range, first);
    for (int64_t j = 0; j < tables.group.rows; ++j) {
      const int64_t row = range.at.row + first + j;
      tables.z_high[j] = r.saved_of(0, kHigh)[row];
      tables.z_log[j] = r.saved_of(0, kLogSum)[row];
      total[j] = r.saved_of(0, kTotal)[row];
      scale[j] = r.scale * load_number(r.g, range.at.g + (first + j) * row_stride(r, r.g));
    }
    tables.normalize();
    tables.find_marginals();
    const Pack<A> totals = InDouble<A>(total).narrowed(), scales = InDouble<A>(scale).narrowed();
    tables.each_cell([&]<Kind kind>(int64_t i, Prob<Pack<A>> cell, Pack<A> lx,
                                    Pack<A> ly) __attribute__((always_inline)) {
      store(tables.cells + i, gradient_by_cell<F, kind>(cell, lx, ly, totals) * scales);
    });
    void* to = static_cast<char*>(const_cast<void*>(r.gradients[kWrtP].data)) +
               (range.at.gradients[kWrtP] + first * step) * size;
    store_panel({to, 1, step, r.x_classes * r.classes, tables.group.rows}, tables.cells);
  };
  each_range(r, begin, end, [&](const RowRange& range) {
    for (int64_t j = 0; j < range.n; j += tables.group.rows) write_group(range, j);
  });
}

template <class F, class A>
void write_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  const Write<A> write = writer<A>(r.gradients[kWrtP].type);
  const int64_t size = size_of(r.gradients[kWrtP].type);
  Table<A> table(r, scratch);
  for (RowIterator at(r, begin); at.row < end; at.next()) {
    const Pack<A> total(r.saved_of(0, kTotal)[at.row]), scale(r.scale * load_number(r.g, at.g));
    table.move_to(at.p);
    table.normalize(r.saved_of(0, kHigh)[at.row], r.saved_of(0, kLogSum)[at.row]);
    table.template reduce_cells<false>();
    char* to =
        static_cast<char*>(const_cast<void*>(r.gradients[kWrtP].data)) + at.gradients[kWrtP] * size;
    for (int64_t x = 0; x < r.x_classes; ++x)
      table.fold_line(x, [&](int64_t first, const auto& cells, int64_t packs,
                             int64_t whole) __attribute__((always_inline)) {
        alignas(64) A d[kBlock];
        const Pack<A> lx(table.px[x]);
        as_kind(cells, r.p.kind, [&]<Kind kind>() __attribute__((always_inline)) {
          each_pack(packs, whole, [&](int64_t i, int, auto w) __attribute__((always_inline)) {
            const Pack<A> ly = load<A>(table.by_y + first + i * Pack<A>::width);
            store(d + i * Pack<A>::width,
                  gradient_by_cell<F, kind>(cells.at(i, w), lx, ly, total) * scale);
          });
        });
        const int64_t left = r.classes - first, n = left < kBlock ? left : kBlock;
        write(d, to + (x * r.classes + first) * size,
              AccessPattern::along_classes(1, n, Pack<A>::width));
      });
  }
}

}  // namespace
}  // namespace torch_infotheory
