// gather.h -- labels with log-probabilities, where one class of each row is read or written.
#pragma once
#include "cpu/rows/backward.h"
#include "cpu/rows/forward.h"

namespace torch_infotheory {
namespace {

// Calls f(labels, x) with the labels and an operand in the types that they have in memory.
template <class Use>
TI_LANE void with_memory(const Rows& r, const Operand& operand, Use f) {
  with_labels(r.p, [&](const auto* labels) __attribute__((always_inline)) {
    with_type<double>(operand.type, [&](auto tag) __attribute__((always_inline)) {
      using T = typename decltype(tag)::type;
      f(labels, static_cast<T*>(const_cast<void*>(operand.data)));
    });
  });
}

// The sum is added up in the order of the rows, and each addition waits for the one before: rows
// that are far apart are read a fifth faster than where all of them may be in flight.
template <class F, class A, class L, class T>
__attribute__((noinline)) void gather_range(Rows& r, const RowRange& range, const Target<A> target,
                                            const L* labels, const T* x) {
  using V = Pack<double>;
  const int64_t line = row_stride(r, r.q), stride = r.q.class_stride;
  double value[RowRange::most_gathered], total = 0;
  V weights(0);
  Indices rows;
  for (int k = 0; k < V::width; ++k) rows[k] = k * line;
  each_labels(r, range, labels,
              [&](int64_t j, const LabelsOfRows& y) __attribute__((always_inline)) {
                Indices at = rows + y.place;
                if (stride != 1) at = rows + y.place * stride;  // ten instructions with AVX2
                at &= y.counts;
                rows += V::width * line;
                const V p = y.masked(target.weights_of(y.place)),
                        term = F::term(Prob<V>{p, V(0)}, Prob<V>{V(0), load_at(x, at)});
                store(value + j, term);
                total += sum(term);
                weights = weights + p;
              });
  if (!r.row_values) return store_values(r, range, value);
  add_to_sum(r, r.row_values, range.at.row, total);
  if (r.row_weights) add_to_sum(r, r.row_weights, range.at.row, sum(weights));
}
template <class F, class A>
void gather_forward(Rows& r, int64_t begin, int64_t end) {
  const Target<A> target(r);
  with_memory(r, r.q, [&]<class T>(const auto* labels, const T* x) __attribute__((always_inline)) {
    const T none{};  // read where there are no classes
    each_range<RowRange::most_gathered>(r, begin, end, [&](const RowRange& range) {
      gather_range<F>(r, range, target, labels, r.classes ? x + range.at.q : &none);
    });
  });
}

// The weights of the rows in a mean.
template <class A>
void sum_label_weights(Rows& r, int64_t begin, int64_t end, double*) {
  const Target<A> target(r);
  with_labels(r.p, [&](const auto* labels) {
    each_range<RowRange::most_gathered>(r, begin, end, [&](const RowRange& range) {
      Pack<double> weights(0);
      each_labels(r, range, labels,
                  [&](int64_t, const LabelsOfRows& y) __attribute__((always_inline)) {
                    weights = weights + y.masked(target.weights_of(y.place));
                  });
      add_to_sum(r, r.row_weights, range.at.row, sum(weights));
    });
  });
}

// Clears n rows of a gradient. In a fresh one the classes of a row are contiguous, or rows are.
template <class T>
void clear_rows(const Rows& r, T* x, int64_t n) {
  const int64_t class_stride = r.gradients[kWrtQ].class_stride,
                step = row_stride(r, r.gradients[kWrtQ]);
  if (class_stride == 1 && (n == 1 || step == r.classes))
    __builtin_memset(x, 0, n * r.classes * sizeof(T));
  else if (step == 1)
    for (int64_t c = 0; c < r.classes; ++c)
      __builtin_memset(x + c * class_stride, 0, n * sizeof(T));
  else
    for (int64_t j = 0; j < n; ++j)
      for (int64_t c = 0; c < r.classes; ++c) store_at(x + j * step + c * class_stride, 0);
}

template <class F, class A>
void gather_backward(Rows& r, int64_t begin, int64_t end) {
  using V = Pack<double>;
  const int64_t line = row_stride(r, r.gradients[kWrtQ]), stride = r.gradients[kWrtQ].class_stride;
  const Target<A> target(r);
  double g[RowRange::most_gathered];
  // The formula is linear in p and in log q, so that its derivative does not depend on q.
  const V any(0), slope = gradient_by_q<kLogProbs>(F(), Prob<V>{V(1), any}, Prob<V>{any, any}, any);
  with_memory(
      r, r.gradients[kWrtQ], [&](const auto* labels, auto* x) __attribute__((always_inline)) {
        each_range<RowRange::most_gathered>(r, begin, end, [&](const RowRange& range) {
          clear_rows(r, x + range.at.gradients[kWrtQ], range.n);
          load_row_gradients(r, range, g);
          each_labels(r, range, labels,
                      [&](int64_t j, const LabelsOfRows& y) __attribute__((always_inline)) {
                        const V d =
                            y.masked(load<double>(g + j) * slope * target.weights_of(y.place));
                        auto* row = x + range.at.gradients[kWrtQ] + j * line;
                        const int64_t rows = r.classes == 0           ? 0
                                             : range.n - j < V::width ? range.n - j
                                                                      : V::width;
                        for (int64_t k = 0; k < rows; ++k)
                          store_at(row + k * line + y.place[k] * stride, d.v[k]);
                      });
        });
      });
}

}  // namespace
}  // namespace torch_infotheory
