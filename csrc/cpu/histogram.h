// histogram.h -- the kernels of soft histograms: scatters samples into the cells of a table, and
// gathers the gradients of samples from cells.
//
// Computed in double whatever the dtype of the samples, because a cell may receive millions of
// them.
#pragma once
#include "core/histogram.h"
#include "cpu/memory/dtypes.h"

namespace torch_infotheory {
namespace {

constexpr int64_t kAtOnce = 256;  // samples: what is known of them stays in the nearest cache

// One variable of a block of samples: the first cell, and the weights of this one and the next.
template <class W>
struct Placed {
  static constexpr int support = W::support;
  double value[kAtOnce], fraction[kAtOnce], factor[kAtOnce];
  int64_t cell[kAtOnce];
  double weights[support][kAtOnce];

  TI_LANE void load(const Samples& from, int64_t row, int64_t first, int64_t n) {
    const int64_t start = row * from.row_stride + first * from.stride;
    const Operand x{from.data, kProbs, from.type};
    if (from.stride == 1)
      load_numbers(x, n, [&](int64_t j) { return start + j; }, value);
    else
      load_numbers(x, n, [&](int64_t j) { return start + j * from.stride; }, value);
  }
  TI_LANE void place(const double* range, int64_t bins, int64_t order, int64_t n) {
    const Axis axis(range, bins - support + 1, order);
    for (int64_t j = 0; j < n; ++j) {
      const Place at(axis, order, value[j]);
      cell[j] = at.cell;
      fraction[j] = at.fraction;
      factor[j] = at.factor;
    }
    for (int64_t j = n; j % Pack<double>::width; ++j) fraction[j] = factor[j] = 0;
    switch (order) {  // constants, so that nothing depends on them within the loop
      case 0:
        return set_weights(0, n);
      case 1:
        return set_weights(1, n);
      default:
        return set_weights(order, n);
    }
  }

 private:
  TI_LANE void set_weights(int64_t order, int64_t n) {
    using P = Pack<double>;
    for (int64_t j = 0; j < n; j += P::width) {
      P w[support];
      W::weights(torch_infotheory::load<double>(fraction + j), order, w);
      const P times = torch_infotheory::load<double>(factor + j);
      for (int k = 0; k < support; ++k) store(weights[k] + j, order ? times * w[k] : w[k]);
    }
  }
};

// Where the cells around a sample begin, and where a line of them ends: those of a table, or copies
// of its cells for every first cell, which lie side by side.
struct CellLayout {
  int64_t by_x, by_y, line;
};

// As many numbers side by side as a window has cells in one dimension.
template <int support>
struct LineOf {
  static constexpr int width = support % 4 ? 2 : 4, parts = support / width;
  using V = Vector<double, width>;
  V part[parts] = {};

  LineOf() = default;
  TI_LANE explicit LineOf(const double* from) {
    for (int i = 0; i < parts; ++i) part[i] = load_raw<double, width>(from + i * width);
  }
  TI_LANE void add(double weight, const LineOf& line) {
    for (int i = 0; i < parts; ++i) part[i] += weight * line.part[i];
  }
  TI_LANE void store(double* to) const {
    for (int i = 0; i < parts; ++i) narrow<width>(to + i * width, part[i]);
  }
  TI_LANE double dot(const LineOf& line) const {
    V sum = part[0] * line.part[0];
    for (int i = 1; i < parts; ++i) sum += part[i] * line.part[i];
    double lanes[width];
    narrow<width>(lanes, sum);
    return width == 4 ? (lanes[0] + lanes[2 % width]) + (lanes[1] + lanes[3 % width])
                      : lanes[0] + lanes[1];
  }
};

template <class W>
struct HistogramBlock {
  static constexpr int support = W::support;
  using Line = LineOf<support>;
  const Histogram& h;
  const int64_t bases;  // first cells in one dimension
  Placed<W> x, y;
  double counts[kAtOnce], log_py[kAtOnce][support];

  explicit HistogramBlock(const Histogram& call) : h(call), bases(call.bins - support + 1) {}
  CellLayout of_table() const { return {h.bins, 1, h.bins}; }
  CellLayout of_copies() const { return {bases * support * support, support * support, support}; }

  TI_LANE void take(int64_t row, int64_t first, int64_t n) {
    x.load(h.variables[0], row, first, n);
    y.load(h.variables[1], row, first, n);
    const double* const range = h.range + 4 * row;
    if (h.mask) {
      const bool* const mask = h.mask + row * h.mask_row_stride + first * h.mask_stride;
      for (int64_t j = 0; j < n; ++j) {
        counts[j] = mask[j * h.mask_stride];
        if (counts[j] == 0) x.value[j] = range[0], y.value[j] = range[2];
      }
    }
    x.place(range, h.bins, h.orders[0], n);
    y.place(range + 2, h.bins, h.orders[1], n);
    for (int k = 0; k < support; ++k)
      for (int64_t j = 0; j < n; ++j) log_py[j][k] = y.weights[k][j];
  }
  // What the samples count, on the weights of x.
  TI_LANE void set_weights(int64_t row, int64_t first, int64_t n) {
    if (!h.weight.data && !h.mask) return;
    double weight[kAtOnce];
    for (int64_t j = 0; j < n; ++j) weight[j] = 1;
    if (h.weight.data) {
      const int64_t start = row * h.weight.row_stride + first * h.weight.stride;
      load_numbers(
          {h.weight.data, kProbs, h.weight.type}, n,
          [&](int64_t j) { return start + j * h.weight.stride; }, weight);
    }
    if (h.mask)
      for (int64_t j = 0; j < n; ++j) weight[j] = counts[j] == 0 ? 0 : weight[j];
    for (int k = 0; k < support; ++k)
      for (int64_t j = 0; j < n; ++j) x.weights[k][j] *= weight[j];
  }

  TI_LANE void add(double* to, CellLayout layout, int64_t n) const {
    for (int64_t j = 0; j < n; ++j) {
      double* const cells = to + x.cell[j] * layout.by_x + y.cell[j] * layout.by_y;
      const Line by_y(log_py[j]);
      for (int k = 0; k < support; ++k) {
        Line line(cells + k * layout.line);
        line.add(x.weights[k][j], by_y);
        line.store(cells + k * layout.line);
      }
    }
  }
  TI_LANE void gather(const double* table, int64_t n, double* out) const {
    for (int64_t j = 0; j < n; ++j) {
      const double* const cells = table + x.cell[j] * h.bins + y.cell[j];
      Line by_y;
      for (int k = 0; k < support; ++k) by_y.add(x.weights[k][j], Line(cells + k * h.bins));
      out[j] = by_y.dot(Line(log_py[j]));
    }
  }
};

template <class Visit>
TI_LANE void each_block(const Histogram& h, int64_t unit, Visit visit) {
  const int64_t row = unit / h.parts, first = unit % h.parts * h.samples_per_part(),
                end = first + h.samples_per_part(), last = end < h.samples ? end : h.samples;
  for (int64_t i = first; i < last; i += kAtOnce)
    visit(row, i, last - i < kAtOnce ? last - i : kAtOnce);
}

template <class W>
void scatter_of(const Histogram& h, int64_t begin, int64_t end, double* scratch) {
  constexpr int support = W::support;
  HistogramBlock<W> block(h);
  const int64_t bases = block.bases, cells = h.bins * h.bins;
  const bool copied = h.copies() > 0;
  for (int64_t unit = begin; unit < end; ++unit) {
    double* const table = h.table + unit * cells;
    for (int64_t i = 0; i < cells; ++i) table[i] = 0;
    for (int64_t i = 0; i < h.copies(); ++i) scratch[i] = 0;
    each_block(h, unit, [&](int64_t row, int64_t first, int64_t n) __attribute__((always_inline)) {
      block.take(row, first, n);
      block.set_weights(row, first, n);
      block.add(copied ? scratch : table, copied ? block.of_copies() : block.of_table(), n);
    });
    const double* from = scratch;
    for (int64_t i = 0; copied && i < bases; ++i)
      for (int64_t j = 0; j < bases; ++j)
        for (int64_t k = 0; k < support; ++k)
          for (int64_t l = 0; l < support; ++l) table[(i + k) * h.bins + j + l] += *from++;
  }
}

template <class W>
void gather_of(const Histogram& h, int64_t begin, int64_t end, double*) {
  HistogramBlock<W> block(h);
  double out[kAtOnce];
  for (int64_t unit = begin; unit < end; ++unit)
    each_block(h, unit, [&](int64_t row, int64_t first, int64_t n) __attribute__((always_inline)) {
      block.take(row, first, n);
      block.gather(h.table + row * h.bins * h.bins, n, out);
      if (h.mask)
        for (int64_t j = 0; j < n; ++j) out[j] = block.counts[j] == 0 ? 0 : out[j];
      store_numbers({h.out.data, kProbs, h.out.type}, row * h.out.row_stride + first * h.out.stride,
                    h.out.stride, out, n);
    });
}

}  // namespace

HistogramKernels TI_ISA() {
  return {[](const Histogram& h, int64_t begin, int64_t end, double* scratch) {
            with_window(h.window, [&](auto w) { scatter_of<decltype(w)>(h, begin, end, scratch); });
          },
          [](const Histogram& h, int64_t begin, int64_t end, double* scratch) {
            with_window(h.window, [&](auto w) { gather_of<decltype(w)>(h, begin, end, scratch); });
          }};
}

}  // namespace torch_infotheory
