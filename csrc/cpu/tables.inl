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
#include "cpu/rows.inl"

namespace torch_infotheory {
namespace {

// One table: cells (x, y), a Source that is moved from line to line.
template <class A>
struct Table {
  static constexpr int width = Pack<A>::width;
  static constexpr int64_t kLines = 64;  // are added up in A before their sum goes to double
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

  void move_to(int64_t offset) { at = offset; }

  // fold(x, first, cells, packs, whole): cells as they lie in memory, or as a block.
  template <class Fold>
  TI_LANE void fold_line(int64_t x, Fold f) {
    line.move_to(r, r.p, at + x * r.p_x_stride, row);
    line.normalise(z, row);
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
    if (r.p.kind != kLogits) return;
    Block<A> scratch;
    Pack<A> reference(-Format<A>::largest);
    double sum_of_exp = 0;
    for (int64_t x = 0; x < r.x_classes; ++x) {
      line.move_to(r, r.p, at + x * r.p_x_stride, row);
      line.high = reference;
      each_stretch(r.classes, kBlock, [&](int64_t first, int64_t n) {
        sum_of_exp *= exp(double(line.raise(row, first, n).v[0]));
        sum_of_exp += sum(line.mass_of_block(row, first, n, scratch));
      });
      reference = line.high;
    }
    z[0] = double(reference.v[0]) + log(sum_of_exp);
  }

  // The first reading: marginals and, if wanted, the entropy of the cells.
  template <bool want_entropy>
  void take_cells() {
    total = sum_xy = 0;
    const auto each_y = [&](auto f) __attribute__((always_inline)) {
      for (int64_t y = 0; y < r.classes; ++y) f(py[y], by_y[y]);
    };
    each_y([](double& sum, A& part) { sum = 0, part = 0; });
    for (int64_t x = 0; x < r.x_classes; ++x) {
      Total<A> line_total, line_entropy;
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
        line_total.add(p);
        line_entropy.add(plogp);
        line_total.flush(), line_entropy.flush();
      });
      px[x] = line_total.before.total();
      total += px[x];
      sum_xy += line_entropy.before.total();
      if ((x + 1) % kLines == 0 || x + 1 == r.x_classes)
        each_y([](double& sum, A& part) { sum += double(part), part = 0; });
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

template <class F, class A>
void table_forward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  const FlushDenormals guard(may_flush(r));
  Table<A> table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    table.move_to(at.p);
    table.take_normaliser();
    table.template take_cells<true>();
    const double total = table.total;
    double value = F::score(table.sum_xy, table.sum_x, table.sum_y);
    r.saved[at.row] = table.z[0];
    r.saved[r.rows + at.row] = value + total * F::score(1., 1., 1.);
    if constexpr (F::divergence) {
      const double rounding = rounding_of_totals(r.p) + kRoundingOfSums;
      if (value < kSmall<A> && fabs(total - total * total) <= rounding * total)
        value = centred_value<F>(r, at.p, scratch);
    }
    if (total != total) value = NAN;
    if (r.row_values)
      r.row_values[at.row] = value;
    else
      store_number(r.value, at.value, value * r.scale);
  }
}

template <class F, class A>
void table_backward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  const FlushDenormals guard(may_flush(r));
  const Write<A> write = writer<A>(r.gradient.type);
  const int64_t size = size_of(r.gradient.type);
  Table<A> table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    const Pack<A> total(r.saved[r.rows + at.row]), scale(r.scale * load_number(r.g, at.g));
    table.move_to(at.p);
    table.z[0] = r.saved[at.row];
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

template <class... F>
const Kernels* table_kernels(List<F...>) {
  static constexpr Kernels table[] = {{{table_forward<F, float>, table_forward<F, double>},
                                       {table_backward<F, float>, table_backward<F, double>}}...};
  return table;
}

}  // namespace

KernelTable TI_ISA() { return {row_kernels(RowFormulas{}), table_kernels(TableFormulas{})}; }

}  // namespace torch_infotheory
