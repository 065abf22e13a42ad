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

namespace torch_infotheory {
namespace {

// One table: cells (x, y), a Source that is moved from line to line.
template <class A>
struct Table {
  static constexpr int width = Pack<A>::width;
  static constexpr int64_t kLines = 16;  // are added up in A before their sum goes to double
  const Rows& r;
  const Team row{/*by_rows=*/false};
  Source<A> line;
  double *px, *py;  // marginals, then their logarithms
  A* by_y;          // of one pack of cells and the next: running sums, then log p(y)
  int64_t at = 0;
  double total = 0;             // of the cells
  double sum_xy = 0;            // of p(x,y) log p(x,y)
  double sum_x = 0, sum_y = 0;  // of p(x) log p(x) and p(y) log p(y)
  double z[width] = {};         // the log-normaliser, in the first

  Table(const Rows& rows, double* scratch)
      : r(rows),
        line(rows, rows.p, row, nullptr),
        px(scratch),
        py(px + r.x_classes),
        by_y(reinterpret_cast<A*>(py + r.classes)) {}

  void move_to(int64_t offset) {
    at = offset;
    line.move_to(r, r.p, at, row);
  }
  // From here on, logits are read as log-probabilities.
  void normalise(double log_normaliser) {
    z[0] = log_normaliser;
    line.normalise(z, row);
  }

  // fold(first, cells, packs, whole): cells of line x as they lie in memory, or as a block.
  template <class Fold>
  TI_LANE void fold_line(int64_t x, Fold f) {
    line.point_to(r.p, at + x * r.p_x_stride);
    each_stretch(r.classes, kBlock, [&](int64_t first, int64_t n) __attribute__((always_inline)) {
      if constexpr (Pair<A>::fuses) {
        const auto as = [&](const auto& cells) __attribute__((always_inline)) {
          f(first, cells, cells.packs(), cells.whole());
        };
        if (line.is_plain(row)) switch (line.kind) {
            case kLogits:
              return as(line.template stretch<kLogits>(row, first, n));
            case kLogProbs:
              return as(line.template stretch<kLogProbs>(row, first, n));
            default:
              return as(line.template stretch<kProbs>(row, first, n));
          }
      }
      Block<A> cells;
      line.fill(row, first, n, cells);
      const int64_t packs = row.packs<A>(n);
      f(first, cells, packs, packs);
    });
  }

  void take_normaliser() {
    if (r.p.kind != kLogits) return normalise(0);
    Block<A> scratch;
    double sum_of_exp = 0;
    for (int64_t x = 0; x < r.x_classes; ++x) {
      line.point_to(r.p, at + x * r.p_x_stride);
      each_stretch(r.classes, kBlock, [&](int64_t first, int64_t n) {
        sum_of_exp *= exp(double(line.raise(row, first, n).v[0]));
        sum_of_exp += sum(line.mass_of_block(row, first, n, scratch));
      });
    }
    normalise(double(line.high.v[0]) + log(sum_of_exp));
  }

  // The first reading: marginals and, if wanted, the entropy of the cells.
  template <bool want_entropy>
  void take_cells() {
    total = sum_xy = 0;
    const auto each_y = [&](auto f) __attribute__((always_inline)) {
      for (int64_t y = 0; y < r.classes; ++y) f(py[y], by_y[y]);
    };
    each_y([](double& sum, A& part) { sum = 0, part = 0; });
    Pack<A> entropy(0);
    for (int64_t x = 0; x < r.x_classes; ++x) {
      double of_line = 0;
      fold_line(x, [&](int64_t first, const auto& cells, int64_t packs,
                       int64_t whole) __attribute__((always_inline)) {
        Accumulator<A> p, plogp;
        A* to = by_y + first;
        each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
          const Prob<Pack<A>> c = cells.at(i, w);
          p.add(k, c.p);
          if constexpr (want_entropy) plogp.add(k, times0(c.p, c.log));
          store(to + i * width, load<A>(to + i * width) + c.p);
        });
        of_line += sum(p.total());
        entropy = entropy + plogp.total();
      });
      px[x] = of_line;
      total += of_line;
      if ((x + 1) % kLines == 0 || x + 1 == r.x_classes) {
        each_y([](double& sum, A& part) { sum += double(part), part = 0; });
        sum_xy += sum(entropy);
        entropy = Pack<A>(0);
      }
    }
    sum_x = take_logs(px, r.x_classes);
    sum_y = take_logs(py, r.classes);
    for (int64_t y = 0; y < r.classes; ++y) by_y[y] = A(py[y]);
    for (int64_t y = r.classes; y % width; ++y) by_y[y] = A(-INFINITY);  // a lane without a cell
  }

 private:
  // Logarithms in place; returns the sum of p log p.
  static double take_logs(double* p, int64_t n) {
    constexpr int64_t step = Pack<double>::width;
    Pack<double> sum_of(0);
    for (int64_t i = 0; i < n; i += step) {
      const int64_t lanes = n - i < step ? n - i : step;
      const Pack<double> v = load_lanes<double>(p + i, 1, lanes, 0.), logs = log(v);
      sum_of = sum_of + times0(v, logs);
      store_lanes(p + i, 1, lanes, logs);
    }
    return sum(sum_of);
  }
};

// The table at `at`, in double; by the centred term if its total is 1 within the rounding of its
// cells and of sums in double.
constexpr double kDoubleSums = 1e-12;
template <class F>
double centred_value(const Rows& r, int64_t at, double* scratch) {
  using P = Pack<double>;
  Table<double> table(r, scratch);
  table.move_to(at);
  table.take_normaliser();
  table.take_cells<true>();
  const double total = table.total, of_entries = rounding_of_totals(r.p);
  const double rounding = of_entries > kDoubleSums ? of_entries : kDoubleSums;
  if (fabs(total - total * total) > rounding * total)
    return F::score(table.sum_xy, table.sum_x, table.sum_y);
  double value = 0;
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
void keep_table(Rows& r, const Cursor& at, int64_t j, double z, double total, double value,
                double* scratch) {
  r.saved[at.row + j] = z;
  r.saved[r.rows + at.row + j] = value + total * F::score(1., 1., 1.);
  if constexpr (F::divergence) {
    const double rounding = rounding_of_totals(r.p) + kRoundingOfSums;
    if (value < kSmall<A> && fabs(total - total * total) <= rounding * total)
      value = centred_value<F>(r, at.p + j * row_stride(r, r.p), scratch);
  }
  if (total != total) value = NAN;
  if (r.row_values)
    r.row_values[at.row + j] = value;
  else
    store_number(r.value, at.value + j * row_stride(r, r.value), value * r.scale);
}

template <class F, class A>
void reduce_small_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  SmallTables<A> tables(r);
  double value[SmallTables<A>::width], total[SmallTables<A>::width];
  for (Cursor at(r, begin); at.row < end; at.skip(tables.team.rows)) {
    tables.move_to(at, end);
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
      keep_table<F, A>(r, at, j, tables.z[j], total[j], value[j], scratch);
  }
}

template <class F, class A>
void reduce_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  Table<A> table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    table.move_to(at.p);
    table.take_normaliser();
    table.template take_cells<true>();
    keep_table<F, A>(r, at, 0, table.z[0], table.total,
                     F::score(table.sum_xy, table.sum_x, table.sum_y), scratch);
  }
}

template <class F, class A>
void write_small_tables(Rows& r, int64_t begin, int64_t end) {
  SmallTables<A> tables(r);
  const Turn<A> turn = tile_writer<A>(r.gradient.type);
  const int64_t step = row_stride(r, r.gradient), size = size_of(r.gradient.type);
  for (Cursor at(r, begin); at.row < end; at.skip(tables.team.rows)) {
    tables.move_to(at, end);
    double total[SmallTables<A>::width] = {}, scale[SmallTables<A>::width] = {};
    for (int64_t j = 0; j < tables.team.rows; ++j) {
      tables.z[j] = r.saved[at.row + j];
      total[j] = r.saved[r.rows + at.row + j];
      scale[j] = r.scale * load_number(r.g, at.g + j * row_stride(r, r.g));
    }
    tables.normalise();
    tables.take_marginals();
    const Pack<A> of_rows = Wide<A>(total).narrowed(), by = Wide<A>(scale).narrowed();
    tables.each_cell([&]<Kind kind>(int64_t i, Prob<Pack<A>> cell, Pack<A> lx,
                                    Pack<A> ly) __attribute__((always_inline)) {
      store(tables.cells + i, gradient_by_cell<F, kind>(cell, lx, ly, of_rows) * by);
    });
    void* to = static_cast<char*>(const_cast<void*>(r.gradient.data)) + at.gradient * size;
    turn({to, 1, step, r.x_classes * r.classes, tables.team.rows}, tables.cells);
  }
}

template <class F, class A>
void write_tables(Rows& r, int64_t begin, int64_t end, double* scratch) {
  const Write<A> write = writer<A>(r.gradient.type);
  const int64_t size = size_of(r.gradient.type);
  Table<A> table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    const Pack<A> total(r.saved[r.rows + at.row]), scale(r.scale * load_number(r.g, at.g));
    table.move_to(at.p);
    table.normalise(r.saved[at.row]);
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

KernelTable TI_ISA() { return {row_kernels(RowFormulas{}), table_kernels(TableFormulas{})}; }

}  // namespace torch_infotheory
