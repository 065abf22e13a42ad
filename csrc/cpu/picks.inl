// picks.inl -- labels against log-probabilities: of each row one class is read, and one is written.
//
// Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// rows.inl.
#pragma once
#include "cpu/gradient.inl"
#include "cpu/values.inl"

namespace torch_infotheory {
namespace {

constexpr int64_t kPicks = 256;  // rows of a run
// Rows of so few bytes that others are worth asking for, so many rows ahead.
constexpr int64_t kShortRow = 256, kRowsAhead = 160;

// take(labels, x): the labels, and an operand of one number per class, in the types that they have
// in memory.
template <class Take>
TI_LANE void with_memory(const Rows& r, const Operand& of_classes, Take take) {
  with_labels(r.p, [&](const auto* labels) __attribute__((always_inline)) {
    with_type<double>(of_classes.type, [&](auto tag) __attribute__((always_inline)) {
      using T = typename decltype(tag)::type;
      take(labels, static_cast<T*>(const_cast<void*>(of_classes.data)));
    });
  });
}

// The sum is added up in the order of the rows, each addition waiting for the one before: rows that
// lie far apart are read a fifth faster than where all of them may be asked for at once.
template <class F, class A, class L, class T>
__attribute__((noinline)) void pick_run(Rows& r, const Run& run, const Target<A> target,
                                        const L* labels, const T* x) {
  using V = Pack<double>;
  const int64_t line = row_stride(r, r.q), stride = r.q.class_stride,
                ahead = stride == 1 && line * sizeof(T) <= kShortRow ? kRowsAhead * line : 0;
  double value[kPicks], total = 0;
  V weights(0);
  Indices rows;
  for (int k = 0; k < V::width; ++k) rows[k] = k * line;
  each_labels(r, run, labels,
              [&](int64_t j, const LabelsOfRows& of) __attribute__((always_inline)) {
                Indices at = rows + of.place;
                if (stride != 1) at = rows + of.place * stride;  // ten instructions with AVX2
                at &= of.counts;
                rows += V::width * line;
                if (ahead)
                  for (int k = 0; k < V::width; ++k) __builtin_prefetch(x + at[k] + ahead);
                const V p = of.kept(target.weights_of(of.place)),
                        term = F::term(Prob<V>{p, V(0)}, Prob<V>{V(0), load_at(x, at)});
                store(value + j, term);
                total += sum(term);
                weights = weights + p;
              });
  if (!r.row_values) return store_values(r, run, value);
  add_to_sum(r, r.row_values, run.at.row, total);
  if (r.row_weights) add_to_sum(r, r.row_weights, run.at.row, sum(weights));
}
template <class F, class A>
void pick(Rows& r, int64_t begin, int64_t end) {
  const Target<A> target(r);
  with_memory(r, r.q, [&]<class T>(const auto* labels, const T* x) __attribute__((always_inline)) {
    const T none{};  // where there is no class to read
    each_run<kPicks>(r, begin, end, [&](const Run& run) {
      pick_run<F>(r, run, target, labels, r.classes ? x + run.at.q : &none);
    });
  });
}

// What the rows count for in a mean.
template <class A>
void weigh(Rows& r, int64_t begin, int64_t end, double*) {
  const Target<A> target(r);
  with_labels(r.p, [&](const auto* labels) {
    each_run<kPicks>(r, begin, end, [&](const Run& run) {
      Pack<double> weights(0);
      each_labels(r, run, labels,
                  [&](int64_t, const LabelsOfRows& of) __attribute__((always_inline)) {
                    weights = weights + of.kept(target.weights_of(of.place));
                  });
      add_to_sum(r, r.row_weights, run.at.row, sum(weights));
    });
  });
}

// Zeros in n rows of a gradient. In a fresh one the classes of a row lie side by side, or rows do.
template <class T>
void clear_rows(const Rows& r, T* x, int64_t n) {
  const int64_t class_stride = r.gradient.class_stride, step = row_stride(r, r.gradient);
  if (class_stride == 1 && (n == 1 || step == r.classes))
    __builtin_memset(x, 0, n * r.classes * sizeof(T));
  else if (step == 1)
    for (int64_t c = 0; c < r.classes; ++c)
      __builtin_memset(x + c * class_stride, 0, n * sizeof(T));
  else
    for (int64_t j = 0; j < n; ++j)
      for (int64_t c = 0; c < r.classes; ++c) put_number(x + j * step + c * class_stride, 0);
}

template <class F, class A>
void scatter(Rows& r, int64_t begin, int64_t end) {
  using V = Pack<double>;
  const int64_t line = row_stride(r, r.gradient), stride = r.gradient.class_stride;
  const Target<A> target(r);
  double g[kPicks];
  // The formula is linear in p, and in log q: its derivative does not depend on q.
  const V any(0), slope = gradient_by_q<kLogProbs>(F(), Prob<V>{V(1), any}, Prob<V>{any, any}, any);
  with_memory(r, r.gradient, [&](const auto* labels, auto* x) __attribute__((always_inline)) {
    each_run<kPicks>(r, begin, end, [&](const Run& run) {
      clear_rows(r, x + run.at.gradient, run.n);
      load_row_gradients(r, run, g);
      each_labels(
          r, run, labels, [&](int64_t j, const LabelsOfRows& of) __attribute__((always_inline)) {
            const V d = of.kept(load<double>(g + j) * slope * target.weights_of(of.place));
            auto* row = x + run.at.gradient + j * line;
            const int64_t rows = r.classes == 0 ? 0 : run.n - j < V::width ? run.n - j : V::width;
            for (int64_t k = 0; k < rows; ++k)
              put_number(row + k * line + of.place[k] * stride, d.v[k]);
          });
    });
  });
}

}  // namespace
}  // namespace torch_infotheory
