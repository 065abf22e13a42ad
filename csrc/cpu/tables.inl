// tables.inl -- how a joint table is reduced on the CPU, forward and backward, for every formula of
// JointExpectation.
//
// The table is read for its marginals (and, as logits, before that for its normaliser), then for
// its cells; a mutual information that comes out small once more, by its centred term. Marginals
// are recomputed by backward rather than kept. Everything is computed in double: with marginals at
// hand, that is what a cell costs least to get right.
//
// Compiled once per instruction set. Knows sources and the names score, centred; must not know any
// formula by name, tensors, threads, or torch.
#pragma once
#include "cpu/rows.inl"

namespace torch_infotheory {
namespace {

// One table: cells (x, y), a Source that is moved from line to line.
struct Table {
  static constexpr int width = Pack<double>::width;
  const Rows& r;
  const Team row{/*by_rows=*/false};
  Source<double> line;
  double *px, *py;  // marginals, then their logarithms
  int64_t at = 0;
  double total = 0;
  double z[width] = {};  // of the table, in the first

  Table(const Rows& rows, double* scratch)
      : r(rows), line(rows, rows.p, row, nullptr), px(scratch), py(scratch + rows.x_classes) {}

  void move_to(int64_t offset) { at = offset; }

  // f(i, k) for the packs that n cells of a block take.
  template <class F>
  static TI_LANE void each_cell(int64_t n, F f) {
    const int64_t packs = (n + width - 1) / width;
    each_pack(packs, packs, [&](int64_t i, int k, auto)
                                __attribute__((always_inline)) { f(i * width, k); });
  }

  // fold(x, first, n, block) over the cells as probabilities.
  template <class Fold>
  void each_block(Fold fold) {
    Block<double> cells;
    for (int64_t x = 0; x < r.x_classes; ++x) {
      line.move_to(r, r.p, at + x * r.p_x_stride, row);
      line.normalise(z, row);
      each_stretch(r.classes, kBlock, [&](int64_t first, int64_t n) {
        line.fill(row, first, n, cells);
        fold(x, first, n, cells);
      });
    }
  }

  // log sum of e^logit over all cells.
  double log_normaliser() {
    Block<double> cells;
    Pack<double> reference(-Format<double>::largest), sum_of_exp(0);
    for (int64_t x = 0; x < r.x_classes; ++x) {
      line.move_to(r, r.p, at + x * r.p_x_stride, row);
      line.high = reference;
      each_stretch(r.classes, kBlock, [&](int64_t first, int64_t n) {
        sum_of_exp = sum_of_exp * exp(line.raise(row, first, n));
        sum_of_exp = sum_of_exp + line.mass_of_block(row, first, n, cells);
      });
      reference = line.high;
    }
    return reference.v[0] + log(sum(sum_of_exp));
  }

  // Leaves log p(x) and log p(y) in px and py.
  void take_marginals() {
    for (int64_t x = 0; x < r.x_classes; ++x) px[x] = 0;
    for (int64_t y = 0; y < r.classes; ++y) py[y] = 0;
    total = 0;
    each_block([&](int64_t x, int64_t first, int64_t n, const Block<double>& cells) {
      Accumulator<double> line_total;
      each_cell(n, [&](int64_t i, int k) { line_total.add(k, load<double>(cells.p + i)); });
      for (int64_t i = 0; i < n; ++i) py[first + i] += cells.p[i];
      px[x] += sum(line_total.total());
    });
    for (int64_t x = 0; x < r.x_classes; ++x) {
      total += px[x];
      px[x] = log(px[x]);
    }
    for (int64_t y = 0; y < r.classes; ++y) py[y] = log(py[y]);
    for (int64_t y = r.classes; y % Pack<double>::width; ++y)
      py[y] = -INFINITY;  // a lane without a cell
  }
};

// fold(joint, log p(x), log p(y)) -> pack, summed over all cells.
template <class Fold>
TI_LANE double sum_of_cells(Table& table, Fold fold) {
  double value = 0;
  table.each_block([&](int64_t x, int64_t first, int64_t n, const Block<double>& cells) {
    Accumulator<double> part;
    const Pack<double> lx(table.px[x]);
    Table::each_cell(n, [&](int64_t i, int k) __attribute__((always_inline)) {
      part.add(k, fold(cells.from(i), lx, load<double>(table.py + first + i)));
    });
    value += sum(part.total());
  });
  return value;
}

template <class F>
void table_forward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  Table table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    using P = Pack<double>;
    table.move_to(at.p);
    table.z[0] = r.p.kind == kLogits ? table.log_normaliser() : 0;
    table.take_marginals();
    double value = sum_of_cells(table, [](Prob<P> joint, P lx, P ly) {
      return times0(joint.p, F::score(joint.log, lx, ly));
    });
    const double by_cells = value + table.total * F::score(1., 1., 1.);
    if constexpr (F::divergence) {
      const double square = table.total * table.total;
      const double rounding = r.p.kind == kLogits ? 1e-12 : rounding_of_totals(r.p);
      if (value < kSmall && fabs(table.total - square) <= rounding * table.total)
        value = sum_of_cells(table, [](Prob<P> joint, P lx, P ly) {
          return F::centred(joint, Prob<P>{exp(lx + ly), lx + ly});
        });
    }
    r.saved[at.row] = table.z[0];
    r.saved[r.rows + at.row] = by_cells;
    if (table.total != table.total) value = NAN;
    if (r.row_values)
      r.row_values[at.row] = value;
    else
      store_number(r.value, at.value, value * r.scale);
  }
}

template <class F, Kind kind>
void write_cells(const Rows& r, const Cursor& at, Table& table, double total, double scale) {
  const Write<double> out = writer<double>(r.gradient.type);
  const int64_t size = size_of(r.gradient.type);
  char* to = static_cast<char*>(const_cast<void*>(r.gradient.data)) + at.gradient * size;
  alignas(64) double d[kBlock];
  table.each_block([&](int64_t x, int64_t first, int64_t n, const Block<double>& cells) {
    const Pack<double> lx(table.px[x]);
    for (int64_t i = 0; i < n; i += Pack<double>::width) {
      const Pack<double> ly = load<double>(table.py + first + i);
      store(d + i, gradient_by_cell<F, kind>(cells.from(i), lx, ly, Pack<double>(total)) *
                       Pack<double>(scale));
    }
    out(d, to + (x * r.classes + first) * size, Walk::along_classes(1, n, Table::width));
  });
}
template <class F>
void table_backward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  Table table(r, scratch);
  for (Cursor at(r, begin); at.row < end; at.next()) {
    const double total = r.saved[r.rows + at.row], scale = r.scale * load_number(r.g, at.g);
    table.move_to(at.p);
    table.z[0] = r.saved[at.row];
    table.take_marginals();
    switch (r.p.kind) {
      case kLogits:
        write_cells<F, kLogits>(r, at, table, total, scale);
        break;
      case kLogProbs:
        write_cells<F, kLogProbs>(r, at, table, total, scale);
        break;
      default:
        write_cells<F, kProbs>(r, at, table, total, scale);
    }
  }
}

template <class... F>
const TableKernels* table_kernels(List<F...>) {
  static constexpr TableKernels table[] = {{table_forward<F>, table_backward<F>}...};
  return table;
}

}  // namespace

KernelTable TI_ISA() { return {row_kernels(RowFormulas{}), table_kernels(TableFormulas{})}; }

}  // namespace torch_infotheory
