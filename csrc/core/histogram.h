// histogram.h -- what a sample adds to the cells of a soft histogram, and the interface between
// tensors and the kernels that accumulate it.
//
// A sample lies at t between the centers of two cells, and a window spreads it over the cells
// around: `support` of them, with weights of total 1. The first of these cells is the whole part of
// t, so that no window extends beyond the table.
#pragma once
#include "core/arithmetic.h"
#include "core/rows.h"

namespace torch_infotheory {

// The numbers are part of the ops' schema.
enum Window : int64_t { kLinearWindow, kCubicWindow, kGaussianWindow, kWindows };

constexpr int kMaxOrder = 8;    // of a derivative of a window that is no polynomial
constexpr int kMaxSupport = 6;  // cells in one dimension

namespace {

// The weights of the cells, or their derivatives of an order, at the fraction f of t, 0 <= f <= 1.
struct LinearWindow {
  static constexpr int support = 2;
  template <class V>
  TI_LANE static void weights(V f, int64_t order, V* w) {
    const V zero = V(0) * f, one = zero + V(1);
    w[0] = order == 0 ? V(1) - f : order == 1 ? -one : zero;
    w[1] = order == 0 ? f : order == 1 ? one : zero;
  }
};

// The cubic B-spline.
// Mattes, Haynor, Vesselle, Lewellen and Eubank (2003), PET-CT Image Registration in the Chest
// Using Free-Form Deformations.
struct CubicWindow {
  static constexpr int support = 4;
  template <class V>
  TI_LANE static void weights(V f, int64_t order, V* w) {
    const V g = V(1) - f, zero = V(0) * f;
    if (order == 0) {
      w[0] = g * g * g * V(1. / 6);
      w[1] = (V(0.5) * f - V(1)) * f * f + V(2. / 3);
      w[2] = (V(0.5) * g - V(1)) * g * g + V(2. / 3);
      w[3] = f * f * f * V(1. / 6);
    } else if (order == 1) {
      w[0] = V(-0.5) * g * g;
      w[1] = (V(1.5) * f - V(2)) * f;
      w[2] = -((V(1.5) * g - V(2)) * g);
      w[3] = V(0.5) * f * f;
    } else if (order == 2) {
      w[0] = g;
      w[1] = V(3) * f - V(2);
      w[2] = V(3) * g - V(2);
      w[3] = f;
    } else {
      const V one = zero + V(order == 3 ? 1 : 0);
      w[0] = -one;
      w[1] = V(3) * one;
      w[2] = V(-3) * one;
      w[3] = one;
    }
  }
};

// The normal density of one cell's width, cut off at three of them and divided by its total. The
// square of f cancels: with c = -2, ..., 3 the weights are proportional to e^(c f - c^2 / 2), an
// exponential family with the derivative w (c - m), where m is the mean of c. Further ones follow
// by the rule of Leibniz.
struct GaussianWindow {
  static constexpr int support = 6;
  template <class V>
  TI_LANE static void weights(V f, int64_t order, V* w) {
    constexpr double at[] = {0.13533528323661270, 0.60653065971263342, 1.};  // e^(-c^2 / 2)
    constexpr double at3 = 0.011108996538242306;
    const V e = exp(f), inverse = V(1) / e;
    V of[kMaxOrder + 1][support], mean[kMaxOrder + 1];
    of[0][0] = inverse * inverse * V(at[0]);
    of[0][1] = inverse * V(at[1]);
    of[0][2] = V(0) * f + V(1);
    of[0][3] = e * V(at[1]);
    of[0][4] = e * e * V(at[0]);
    of[0][5] = e * e * e * V(at3);
    V total = of[0][0];
    for (int c = 1; c < support; ++c) total = total + of[0][c];
    const V share = V(1) / total;
    for (int c = 0; c < support; ++c) of[0][c] = of[0][c] * share;
    for (int n = 0; n < order && n < kMaxOrder; ++n) {
      mean[n] = V(-2) * of[n][0];
      for (int c = 1; c < support; ++c) mean[n] = mean[n] + V(c - 2) * of[n][c];
      for (int c = 0; c < support; ++c) of[n + 1][c] = V(c - 2) * of[n][c];
      double choose = 1;  // k of n
      for (int k = 0; k <= n; ++k) {
        for (int c = 0; c < support; ++c)
          of[n + 1][c] = of[n + 1][c] - V(choose) * of[k][c] * mean[n - k];
        choose = choose * (n - k) / (k + 1);
      }
    }
    for (int c = 0; c < support; ++c) w[c] = of[order < kMaxOrder ? order : kMaxOrder][c];
  }
};

// visit(a window)
template <class Visit>
auto with_window(int64_t window, Visit&& visit) {
  switch (window) {
    case kLinearWindow:
      return visit(LinearWindow{});
    case kCubicWindow:
      return visit(CubicWindow{});
    default:
      return visit(GaussianWindow{});
  }
}
inline int64_t support_of(int64_t window) {
  return with_window(window, [](auto w) -> int64_t { return decltype(w)::support; });
}

// A variable's range, whose ends lie so far inside the table that no window reaches over its edge:
// `bases` cells in a row can be the first one of a window.
struct Axis {
  double low, high, span, scale, slope = 1;  // d^order t = slope

  TI_LANE Axis(const double* range, int64_t bases, int64_t order)
      : low(range[0]), high(range[1]), span(double(bases)) {
    scale = high == low ? 0 : span / (high - low);
    for (int64_t k = 0; k < order; ++k) slope *= scale;
  }
};
// Where a sample lies: the first cell of its window, how far behind its center, and the factor of
// the window's derivative. A NaN stays one, and so does the place of a sample in a range of NaN.
struct Place {
  int cell;
  double fraction, factor;

  TI_LANE Place(const Axis& axis, int64_t order, double sample) {
    const double above = sample < axis.low ? axis.low : sample,
                 inside = above > axis.high ? axis.high : above;
    double t = (inside - axis.low) * axis.scale;
    t = t > axis.span ? axis.span : t;  // by rounding, which would make a weight negative
    const double last = t < axis.span - 1 ? t : axis.span - 1;
    cell = int(last > 0 ? last : 0);
    fraction = t - cell;
    factor = order == 0 || sample == inside ? axis.slope : 0;
  }
};

}  // namespace

// Numbers in rows: one for each sample.
struct Samples {
  const void* data = nullptr;
  Type type = kFloat;
  int64_t row_stride = 0, stride = 0;
};

// A call: the table of every row of samples, or from a table a number for every sample. What the
// windows of x and y give is derived by x and y so many times.
struct Histogram {
  int64_t rows = 0, samples = 0, bins = 0;
  int64_t window = kCubicWindow, orders[2] = {0, 0};
  Samples variables[2];
  Samples weight;              // of the samples; without data, 1
  const bool* mask = nullptr;  // samples that count; null: all
  int64_t mask_row_stride = 0, mask_stride = 0;
  const double* range = nullptr;  // [rows, 4]: low and high, of x and of y
  double* table = nullptr;        // [rows, bins, bins], or [rows, parts, bins, bins] to be added up
  Samples out;

  // Few long rows are cut into parts, by sizes alone, so that results do not depend on the number
  // of threads.
  int64_t parts = 1;
  TI_LANE int64_t samples_per_part() const { return (samples + parts - 1) / parts; }

  // Samples that lie close to each other would wait for each other's sums: where there are many,
  // each first cell has cells of its own, which are added up in the end. So many cells; 0: none.
  int64_t copies() const {
    const int64_t support = support_of(window), bases = bins - support + 1,
                  cells = bases * bases * support * support;
    return cells <= samples_per_part() ? cells : 0;
  }
};

// Units [begin, end) of the rows' parts. `scratch` is for the copies.
using HistogramKernel = void (*)(const Histogram& h, int64_t begin, int64_t end, double* scratch);
struct HistogramKernels {
  HistogramKernel scatter, gather;
};
HistogramKernels histogram_default();
#if defined(__x86_64__)
HistogramKernels histogram_avx2();
#endif

}  // namespace torch_infotheory
