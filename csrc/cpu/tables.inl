// tables.inl -- how a joint table is reduced on the CPU, forward and backward, for every formula of
// JointExpectation.
//
// Scores are linear, so E[score(log p(x,y), log p(x), log p(y))] is the score of three
// expectations: one reading of the cells gives the first of them and the marginals, and the
// marginals give the other two. Logits are read once before that, for their normaliser; a mutual
// information that comes out small is read again in double by its centred term. Marginals are
// recomputed by backward rather than kept.
//
// Compiled once per instruction set. Knows sources and the names score, centred; must not know any
// formula by name, tensors, threads, or torch.
#pragma once
#include "cpu/small_tables.inl"
#include "cpu/table.inl"

namespace torch_infotheory {
namespace {

// The table at `at`, in double. The centred terms sum to the value and, as marginals that total T
// state a product that totals T^2, to T^2 - T more: nothing where T is 1 up to the cells' rounding.
template <class F>
double centred_value(const Rows& r, int64_t at, double* scratch) {
  using P = Pack<double>;
  Table<double> table(r, scratch);
  table.move_to(at);
  table.take_normaliser();
  table.take_cells<true>();
  const double total = sum(table.total).value(), product = total * total;
  const bool agree = r.p.kind == kLogits || totals_agree(rounding_of_totals(r.p), total, product);
  double value = agree ? 0 : total - product;
  for (int64_t x = 0; x < r.x_classes; ++x)
    table.fold_line(x, [&](int64_t first, const auto& cells, int64_t packs,
                           int64_t whole) __attribute__((always_inline)) {
      Accumulator<double> part;
      const P lx(table.px[x]);
      each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
        const P log_product = lx + load<double>(table.by_y + first + i * P::width);
        part.add(k, F::centred(cells.at(i, w), Prob<P>{exp(log_product), log_product}));
      });
      value += sum(part.total());
    });
  return value;
}

// What is kept of a table, from its sums.
template <class F, class A>
void keep_table(Rows& r, const Cursor& at, int64_t j, double z_high, double z_log, double total,
                double value, double* scratch) {
  r.saved_of(0, kHigh)[at.row + j] = z_high;
  r.saved_of(0, kLogSum)[at.row + j] = z_log;
  r.saved_of(0, kTotal)[at.row + j] = value + total * F::score(1., 1., 1.);
  if constexpr (F::divergence) {
    const double product = total * total, rounding = rounding_of_totals(r.p);
    if (value < kSmall<A> && totals_agree(rounding + kRoundingOfSums, total, product))
      value = centred_value<F>(r, at.p + j * row_stride(r, r.p), scratch);
    else if (totals_agree(rounding, total, product))
      value += product - total;
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
  const auto take_team = [&](const Run& run, int64_t first) {
    tables.move_to(run, first);
    tables.take_normalisers();
    tables.normalise();
    tables.take_marginals();
    // The cells are at hand, so their scores are summed rather than the three logarithms apart,
    // whose sums are larger.
    Pack<A> sum(0);
    tables.each_cell([&]<Kind>(int64_t, Prob<Pack<A>> cell, Pack<A> lx, Pack<A> ly)
                         __attribute__((always_inline)) {
                           sum = sum + times0(cell.p, F::score(cell.log, lx, ly));
                         });
    Wide<A>(sum).store_lanes(value);
    Wide<A>(tables.total).store_lanes(total);
    for (int64_t j = 0; j < tables.team.rows; ++j)
      keep_table<F, A>(r, run.at, first + j, tables.z_high[j], tables.z_log[j], total[j], value[j],
                       scratch);
  };
  each_run(r, begin, end, [&](const Run& run) {
    for (int64_t j = 0; j < run.n; j += tables.team.rows) take_team(run, j);
  });
}

// Logits are taken as if their cells totalled 1: what the total is beside it, the logarithm of the
// normaliser has lost.
template <class F, class A>
double value_of(const Table<A>& table, Twofold<double> total) {
  const double value = sum(F::score(table.sum_xy, table.sum_x, table.sum_y)).value();
  if (table.r.p.kind != kLogits) return value;
  const double excess = (total + -1.).value();
  return (value - excess * F::score(1., 1., 1.)) / (1 + excess);
}

template <class F, class A>
void reduce_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  Table<A> table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    table.move_to(at.p);
    table.take_normaliser();
    table.template take_cells<true>();
    const Twofold<double> total = sum(table.total);
    keep_table<F, A>(r, at, 0, table.z_high, table.z_log, total.value(), value_of<F>(table, total),
                     scratch);
  }
}

template <class F, class A>
void write_small_tables(Rows& r, int64_t begin, int64_t end) {
  SmallTables<A> tables(r);
  const Turn<A> turn = tile_writer<A>(r.gradient.type);
  const int64_t step = row_stride(r, r.gradient), size = size_of(r.gradient.type);
  double total[SmallTables<A>::width] = {}, scale[SmallTables<A>::width] = {};
  const auto write_team = [&](const Run& run, int64_t first) {
    tables.move_to(run, first);
    for (int64_t j = 0; j < tables.team.rows; ++j) {
      const int64_t row = run.at.row + first + j;
      tables.z_high[j] = r.saved_of(0, kHigh)[row];
      tables.z_log[j] = r.saved_of(0, kLogSum)[row];
      total[j] = r.saved_of(0, kTotal)[row];
      scale[j] = r.scale * load_number(r.g, run.at.g + (first + j) * row_stride(r, r.g));
    }
    tables.normalise();
    tables.take_marginals();
    const Pack<A> of_rows = Wide<A>(total).narrowed(), by = Wide<A>(scale).narrowed();
    tables.each_cell([&]<Kind kind>(int64_t i, Prob<Pack<A>> cell, Pack<A> lx,
                                    Pack<A> ly) __attribute__((always_inline)) {
      store(tables.cells + i, gradient_by_cell<F, kind>(cell, lx, ly, of_rows) * by);
    });
    void* to = static_cast<char*>(const_cast<void*>(r.gradient.data)) +
               (run.at.gradient + first * step) * size;
    turn({to, 1, step, r.x_classes * r.classes, tables.team.rows}, tables.cells);
  };
  each_run(r, begin, end, [&](const Run& run) {
    for (int64_t j = 0; j < run.n; j += tables.team.rows) write_team(run, j);
  });
}

template <class F, class A>
void write_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  const Write<A> write = writer<A>(r.gradient.type);
  const int64_t size = size_of(r.gradient.type);
  Table<A> table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    const Pack<A> total(r.saved_of(0, kTotal)[at.row]), scale(r.scale * load_number(r.g, at.g));
    table.move_to(at.p);
    table.normalise(r.saved_of(0, kHigh)[at.row], r.saved_of(0, kLogSum)[at.row]);
    table.template take_cells<false>();
    char* to = static_cast<char*>(const_cast<void*>(r.gradient.data)) + at.gradient * size;
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
        write(d, to + (x * r.classes + first) * size, Walk::along_classes(1, n, Pack<A>::width));
      });
  }
}

template <class F, class A>
void table_forward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if (SmallTables<A>::pays(r))
      reduce_small_tables<F, A>(r, begin, end, scratch);
    else
      reduce_tables<F, A>(r, begin, end, scratch);
  });
}
template <class F, class A>
void table_backward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if (SmallTables<A>::pays(r))
      write_small_tables<F, A>(r, begin, end);
    else
      write_tables<F, A>(r, begin, end, scratch);
  });
}

template <class... F>
const Kernels* table_kernels(List<F...>) {
  static constexpr Kernels table[] = {{{table_forward<F, float>, table_forward<F, double>},
                                       {table_backward<F, float>, table_backward<F, double>}}...};
  return table;
}

}  // namespace

KernelTable TI_ISA() {
  return {
      row_kernels(RowFormulas{}), table_kernels(TableFormulas{}), {weigh<float>, weigh<double>}};
}

}  // namespace torch_infotheory
