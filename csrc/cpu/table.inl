// table.inl -- one joint table, line by line: its marginals and the expectations of the three
// logarithms.
//
// Knows sources and layout; must not know any formula by name, tensors, threads, or torch. Read
// next: tables.inl.
#pragma once
#include "cpu/rows.inl"

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
  // Of the cells; of p(x,y) log p(x,y); of p(x) log p(x) and p(y) log p(y). In lanes, and twofold,
  // for a score may be much less than the sums that it is made of.
  Twofold<Pack<double>> total, sum_xy, sum_x, sum_y;
  double z_high = 0, z_log = 0;  // the log-normalizer

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
  void normalise(double high, double log) {
    z_high = high, z_log = log;
    line.normalise(Wide<A>(high), Wide<A>(log));
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
    if (r.p.kind != kLogits) return normalise(0, 0);
    Block<A> scratch;
    double sum_of_exp = 0;
    for (int64_t x = 0; x < r.x_classes; ++x) {
      line.point_to(r.p, at + x * r.p_x_stride);
      each_stretch(r.classes, kBlock, [&](int64_t first, int64_t n) {
        sum_of_exp *= exp(double(line.raise(row, first, n).v[0]));
        sum_of_exp += sum(line.mass_of_block(row, first, n, scratch));
      });
    }
    normalise(double(line.high.v[0]), log(sum_of_exp));
  }

  // The first reading: marginals and, if wanted, the entropy of the cells.
  template <bool want_entropy>
  void take_cells() {
    sum_xy = {};
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
      if ((x + 1) % kLines == 0 || x + 1 == r.x_classes) {
        each_y([](double& sum, A& part) { sum += double(part), part = 0; });
        for (const Pack<double> part : Wide<A>(entropy).part) sum_xy = sum_xy + part;
        entropy = Pack<A>(0);
      }
    }
    total = take_logs(px, r.x_classes, sum_x);
    take_logs(py, r.classes, sum_y);
    for (int64_t y = 0; y < r.classes; ++y) by_y[y] = A(py[y]);
    for (int64_t y = r.classes; y % width; ++y) by_y[y] = A(-INFINITY);  // a lane without a cell
  }

 private:
  // Logarithms in place; returns the sum of p.
  static Twofold<Pack<double>> take_logs(double* p, int64_t n, Twofold<Pack<double>>& plogp) {
    constexpr int64_t step = Pack<double>::width;
    Twofold<Pack<double>> mass;
    plogp = {};
    for (int64_t i = 0; i < n; i += step) {
      const int64_t lanes = n - i < step ? n - i : step;
      const Pack<double> v = load_lanes<double>(p + i, 1, lanes, 0.), logs = log(v);
      mass = mass + v;
      plogp = plogp + times0(v, logs);
      store_lanes(p + i, 1, lanes, logs);
    }
    return mass;
  }
};

}  // namespace
}  // namespace torch_infotheory
