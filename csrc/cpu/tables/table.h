// table.h -- one joint table, line by line: its marginals, and the expectations of the three
// logarithms.
#pragma once
#include "cpu/rows/fold.h"
#include "cpu/rows/pair.h"

namespace torch_infotheory {
namespace {

// One table: cells (x, y), a Source that is moved from line to line.
template <class A>
struct Table {
  static constexpr int width = Pack<A>::width;
  static constexpr int64_t kLines =
      16;  // lines that are added up in A before the sum goes to double
  const Rows& r;
  const RowGroup row{/*by_rows=*/false};
  Source<A> line;
  double *px, *py;  // marginals, then their logarithms
  A* by_y;          // running sums over lines, then log p(y)
  int64_t at = 0;
  // Sums of the cells, of p(x,y) log p(x,y), of p(x) log p(x) and of p(y) log p(y): in two doubles,
  // because a score may be much smaller than the sums that it is made of.
  DoubleDouble<Pack<double>> total, sum_xy, sum_x, sum_y;
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
  // From here on logits are read as log-probabilities.
  void normalize(double high, double log) {
    z_high = high, z_log = log;
    line.normalize(InDouble<A>(high), InDouble<A>(log));
  }

  // Calls f(first, cells, packs, whole) for the cells of line x: directly from memory, or as a
  // block.
  template <class Fold>
  TI_LANE void fold_line(int64_t x, Fold f) {
    line.point_to(r.p, at + x * r.p_x_stride);
    each_block(r.classes, kBlock, [&](int64_t first, int64_t n) __attribute__((always_inline)) {
      if constexpr (Pair<A>::fuses) {
        const auto as = [&](const auto& cells) __attribute__((always_inline)) {
          f(first, cells, cells.packs(), cells.whole());
        };
        if (line.is_plain(row)) switch (line.kind) {
            case kLogits:
              return as(line.template probs<kLogits>(row, first, n));
            case kLogProbs:
              return as(line.template probs<kLogProbs>(row, first, n));
            default:
              return as(line.template probs<kProbs>(row, first, n));
          }
      }
      Block<A> cells;
      line.read_block(row, first, n, cells);
      const int64_t packs = row.packs<A>(n);
      f(first, cells, packs, packs);
    });
  }

  void find_normalizer() {
    if (r.p.kind != kLogits) return normalize(0, 0);
    Block<A> scratch;
    double sum_of_exp = 0;
    for (int64_t x = 0; x < r.x_classes; ++x) {
      line.point_to(r.p, at + x * r.p_x_stride);
      each_block(r.classes, kBlock, [&](int64_t first, int64_t n) {
        sum_of_exp *= exp(double(line.update_max(row, first, n).v[0]));
        sum_of_exp += sum(line.sum_of_block(row, first, n, scratch));
      });
    }
    normalize(double(line.high.v[0]), log(sum_of_exp));
  }

  // The marginals and, if wanted, the entropy of the cells.
  template <bool want_entropy>
  void reduce_cells() {
    sum_xy = {};
    const auto each_y = [&](auto f) __attribute__((always_inline)) {
      for (int64_t y = 0; y < r.classes; ++y) f(py[y], by_y[y]);
    };
    each_y([](double& sum, A& part) { sum = 0, part = 0; });
    Pack<A> entropy(0);
    for (int64_t x = 0; x < r.x_classes; ++x) {
      double line_sum = 0;
      fold_line(x, [&](int64_t first, const auto& cells, int64_t packs,
                       int64_t whole) __attribute__((always_inline)) {
        FourWay<A> p, plogp;
        A* to = by_y + first;
        each_pack(packs, whole, [&](int64_t i, int k, auto w) __attribute__((always_inline)) {
          const Prob<Pack<A>> c = cells.at(i, w);
          p.add(k, c.p);
          if constexpr (want_entropy) plogp.add(k, times0(c.p, c.log));
          store(to + i * width, load<A>(to + i * width) + c.p);
        });
        line_sum += sum(p.total());
        entropy = entropy + plogp.total();
      });
      px[x] = line_sum;
      if ((x + 1) % kLines == 0 || x + 1 == r.x_classes) {
        each_y([](double& sum, A& part) { sum += double(part), part = 0; });
        for (const Pack<double> part : InDouble<A>(entropy).part) sum_xy = sum_xy + part;
        entropy = Pack<A>(0);
      }
    }
    total = to_logarithms(px, r.x_classes, sum_x);
    to_logarithms(py, r.classes, sum_y);
    for (int64_t y = 0; y < r.classes; ++y) by_y[y] = A(py[y]);
    for (int64_t y = r.classes; y % width; ++y) by_y[y] = A(-INFINITY);  // a lane without a cell
  }

 private:
  // Replaces p by its logarithm; returns the sum of p, and that of p log p in `plogp`.
  static DoubleDouble<Pack<double>> to_logarithms(double* p, int64_t n,
                                                  DoubleDouble<Pack<double>>& plogp) {
    constexpr int64_t step = Pack<double>::width;
    DoubleDouble<Pack<double>> p_sum;
    plogp = {};
    for (int64_t i = 0; i < n; i += step) {
      const int64_t lanes = n - i < step ? n - i : step;
      const Pack<double> v = load_lanes<double>(p + i, 1, lanes, 0.), logs = log(v);
      p_sum = p_sum + v;
      plogp = plogp + times0(v, logs);
      store_lanes(p + i, 1, lanes, logs);
    }
    return p_sum;
  }
};

}  // namespace
}  // namespace torch_infotheory
