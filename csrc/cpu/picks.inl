// picks.inl -- labels against log-probabilities: of each row one class is read, and one is written.
//
// Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// rows.inl.
#pragma once
#include "cpu/gradient.inl"
#include "cpu/values.inl"

namespace torch_infotheory {
namespace {

// take(labels, x, weight) with the labels and an operand of one number per class, in the types that
// they have in memory, and the class weights.
template <class A, class Take>
TI_LANE void with_memory(const Rows& r, const Operand& of_classes, Take take) {
  with_labels(r.p, [&](const auto* labels) __attribute__((always_inline)) {
    with_type<double>(of_classes.type, [&](auto tag) __attribute__((always_inline)) {
      auto* x = static_cast<typename decltype(tag)::type*>(const_cast<void*>(of_classes.data));
      const auto* weight = static_cast<const A*>(r.weight);
      if (weight)
        take(labels, x, [&](int64_t c) __attribute__((always_inline)) { return weight[c]; });
      else
        take(labels, x, [](int64_t) __attribute__((always_inline)) { return A(1); });
    });
  });
}
// The label of a row that counts.
struct Counted {
  int64_t place;
  template <class Number>
  TI_LANE Number kept(Number x) const {
    return x;
  }
};
// visit(j, label, weight) for the rows of a run: short, and without a branch, so that the processor
// waits for the memory of many rows at once. Shorter where all count, as most do.
template <class T, class Weight, class Visit>
TI_LANE void each_pick(Rows& r, const Run& run, const T* labels, Weight weight, Visit visit) {
  const T* at = labels + run.at.p;
  int64_t all = -1, bad = 0;
  each_in_line(run.n, row_stride(r, r.p), [&](int64_t, int64_t i) __attribute__((always_inline)) {
    const ClassIndex label(r, at[i]);
    all &= label.mask;
    bad |= label.bad;
  });
  if (bad) note_bad(r, run);
  if (r.classes == 0) return;  // there is no class 0 to read
  each_in_line(run.n, row_stride(r, r.p), [&](int64_t j, int64_t i) __attribute__((always_inline)) {
    if (all) return visit(j, Counted{int64_t(at[i])}, double(weight(at[i])));
    const ClassIndex label(r, at[i]);
    visit(j, label, label.kept(double(weight(label.place))));
  });
}
// f(pack of a, pack of b) into a.
template <class F>
TI_LANE void zip(double* a, const double* b, int64_t n, F f) {
  for (int64_t j = 0; j < n; j += Pack<double>::width)
    store(a + j, f(load<double>(a + j), load<double>(b + j)));
}

// Rows of so few bytes that those of the next run are worth asking for.
constexpr int64_t kShortRow = 256;

template <class F, class A>
void pick(Rows& r, int64_t begin, int64_t end) {
  using V = Pack<double>;
  const int64_t step = row_stride(r, r.q),
                ahead = r.q.class_stride == 1 && step * size_of(r.q.type) <= kShortRow
                            ? Run::most * step
                            : 0;
  double p[Run::most] = {}, log_q[Run::most] = {};
  with_memory<A>(
      r, r.q, [&](const auto* labels, const auto* x, auto weight) __attribute__((always_inline)) {
        each_run(r, begin, end, [&](const Run& run) __attribute__((always_inline)) {
          each_pick(r, run, labels, weight,
                    [&](int64_t j, const auto& label, double w) __attribute__((always_inline)) {
                      p[j] = w;
                      // Of a row that does not count, what has been read already.
                      const auto* const at =
                          x + run.at.q + label.kept(j * step + label.place * r.q.class_stride);
                      if (ahead) __builtin_prefetch(at + ahead);
                      log_q[j] = number_at(at);
                    });
          zip(log_q, p, run.n, [](V log_q, V p) __attribute__((always_inline)) {
            return F::term(Prob<V>{p, V(0)}, Prob<V>{V(0), log_q});
          });
          keep_values(r, run, log_q, p);
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
  if (r.classes == 0) return;
  using V = Pack<double>;
  const int64_t step = row_stride(r, r.gradient);
  double g[Run::most], p[Run::most];
  int64_t place[Run::most];
  with_memory<A>(
      r, r.gradient, [&](const auto* labels, auto* x, auto weight) __attribute__((always_inline)) {
        each_run(r, begin, end, [&](const Run& run) __attribute__((always_inline)) {
          auto* const to = x + run.at.gradient;
          clear_rows(r, to, run.n);
          load_row_gradients(r, run, g);
          each_pick(r, run, labels, weight,
                    [&](int64_t j, const auto& label, double w) __attribute__((always_inline)) {
                      p[j] = w;
                      g[j] = label.kept(g[j]);
                      place[j] = j * step + label.place * r.gradient.class_stride;
                    });
          // The formula is linear: its derivative by log q does not depend on q.
          zip(g, p, run.n, [](V g, V p) __attribute__((always_inline)) {
            const V any(0);
            return g * gradient_by_q<F, kLogProbs>(Prob<V>{p, any}, Prob<V>{any, any}, any);
          });
          for (int64_t j = 0; j < run.n; ++j) put_number(to + place[j], g[j]);
        });
      });
}

}  // namespace
}  // namespace torch_infotheory
