// picks.inl -- labels against log-probabilities: of each row one class is read, and one is written.
//
// Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// rows.inl.
#pragma once
#include "cpu/gradient.inl"
#include "cpu/values.inl"

namespace torch_infotheory {
namespace {

// The labels of a run's rows that count, and all bits for each of them; 0 and no bits for the
// others. Each loop here is short and has no branch, so that the processor waits for the memory of
// many rows at once.
struct Picks {
  static constexpr int64_t most = 256;  // rows of a run
  int64_t place[most], mask[most];

  template <class T>
  void read(Rows& r, const Run& run, const T* labels) {
    int64_t bad = 0;
    each_in_line(run.n, row_stride(r, r.p),
                 [&](int64_t j, int64_t i) __attribute__((always_inline)) {
                   const ClassIndex label(r, labels[run.at.p + i]);
                   bad |= label.bad;
                   place[j] = label.place;
                   mask[j] = label.mask;
                 });
    if (bad) note_bad(r, run);
  }
  template <class A>
  TI_LANE double weight_of(int64_t j, const Target<A>& target) const {
    return masked(target.weight_of(place[j]), mask[j]);
  }
  // Of each row of x its number, and its weight. Of a row that does not count, what is read anyway.
  // Not inlined: its loop would share the registers of all of them.
  template <class T, class A>
  __attribute__((noinline)) void load_from(const T* x, int64_t class_stride, int64_t row_stride,
                                           int64_t ahead, const Target<A>& target, int64_t n,
                                           double* to, double* p) const {
    for (int64_t j = 0, row = 0; j < n; ++j, row += row_stride) {
      const T* number = x + ((row + place[j] * class_stride) & mask[j]);
      if (ahead) __builtin_prefetch(number + ahead);
      to[j] = number_at(number);
      p[j] = weight_of(j, target);
    }
  }
  // Both in one loop, for rows that lie far apart: each number is in a page of its own, and where
  // many are asked for at once they hold each other up.
  template <class L, class T, class A>
  static void read_and_load(Rows& r, const Run& run, const L* labels, const T* x,
                            const Target<A>& target, double* to, double* p) {
    const int64_t line = row_stride(r, r.p), step = row_stride(r, r.q);
    int64_t bad = 0;
    for (int64_t j = 0; j < run.n; ++j) {
      const ClassIndex label(r, labels[run.at.p + j * line]);
      bad |= label.bad;
      to[j] = number_at(x + label.kept(j * step + label.place));
      p[j] = label.kept(target.weight_of(label.place));
    }
    if (bad) note_bad(r, run);
  }
  template <class T, class A>
  void store_to(T* x, int64_t class_stride, int64_t row_stride, const Target<A>& target, int64_t n,
                const double* from) const {
    for (int64_t j = 0, row = 0; j < n; ++j, row += row_stride) {
      const double of_row = from[j] * target.weight_of(place[j]);
      put_number(x + row + place[j] * class_stride, masked(of_row, mask[j]));
    }
  }
};
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

// Rows of so few bytes that others are worth asking for, so many rows ahead.
constexpr int64_t kShortRow = 256, kRowsAhead = 64;

template <class F, class A>
void pick(Rows& r, int64_t begin, int64_t end) {
  using V = Pack<double>;
  const int64_t step = row_stride(r, r.q), stride = r.q.class_stride;
  const bool short_rows = step * size_of(r.q.type) <= kShortRow,
             apart = stride == 1 && !short_rows && r.classes > 0;
  const int64_t ahead = stride == 1 && short_rows ? kRowsAhead * step : 0;
  const Target<A> target(r);
  double p[Picks::most], log_q[Picks::most];
  Picks picks;
  with_memory(r, r.q, [&](const auto* labels, const auto* x) __attribute__((always_inline)) {
    each_run<Picks::most>(r, begin, end, [&](const Run& run) {
      const auto* first = x + run.at.q;
      if (apart)
        Picks::read_and_load(r, run, labels, first, target, log_q, p);
      else if (picks.read(r, run, labels); r.classes > 0)
        picks.load_from(first, stride, step, ahead, target, run.n, log_q, p);
      else  // there is no class to read
        __builtin_memset(p, 0, sizeof p), __builtin_memset(log_q, 0, sizeof log_q);
      for (int64_t j = 0; j < run.n; j += V::width)
        store(log_q + j,
              F::term(Prob<V>{load<double>(p + j), V(0)}, Prob<V>{V(0), load<double>(log_q + j)}));
      keep_values(r, run, log_q, p);
    });
  });
}

// What the rows count for in a mean.
template <class A>
void weigh(Rows& r, int64_t begin, int64_t end, double*) {
  const Target<A> target(r);
  double p[Picks::most];
  Picks picks;
  with_labels(r.p, [&](const auto* labels) {
    each_run<Picks::most>(r, begin, end, [&](const Run& run) {
      picks.read(r, run, labels);
      for (int64_t j = 0; j < run.n; ++j) p[j] = r.classes ? picks.weight_of(j, target) : 0;
      add_up(r, r.row_weights, run.at.row, p, run.n);
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
  const int64_t step = row_stride(r, r.gradient), stride = r.gradient.class_stride;
  const Target<A> target(r);
  double g[Picks::most];
  Picks picks;
  with_memory(r, r.gradient, [&](const auto* labels, auto* x) __attribute__((always_inline)) {
    each_run<Picks::most>(r, begin, end, [&](const Run& run) {
      clear_rows(r, x + run.at.gradient, run.n);
      picks.read(r, run, labels);
      if (r.classes == 0) return;
      load_row_gradients(r, run, g);
      // The formula is linear in p, and in log q: its derivative does not depend on q.
      const V any(0),
          slope = gradient_by_q<F, kLogProbs>(Prob<V>{V(1), any}, Prob<V>{any, any}, any);
      for (int64_t j = 0; j < run.n; j += V::width) store(g + j, load<double>(g + j) * slope);
      picks.store_to(x + run.at.gradient, stride, step, target, run.n, g);
    });
  });
}

}  // namespace
}  // namespace torch_infotheory
