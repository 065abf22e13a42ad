// picks.inl -- labels against log-probabilities: of each row one class is read, and one is written.
//
// There is no loop over the classes to hide what a row costs, so types are told apart once for many
// rows. Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// rows.inl.
#pragma once
#include "cpu/labels.inl"

namespace torch_infotheory {
namespace {

// Some rows that follow each other in the last dimension, and their labels.
template <class A>
struct Picks {
  static constexpr int64_t most = 256;
  Rows& r;
  int64_t n = 0;
  int64_t label[most];

  explicit Picks(Rows& rows) : r(rows) {}
  // To the rows from here on.
  void move_to(const Cursor& at, int64_t end) {
    const int64_t in_line = r.rank ? r.sizes[r.rank - 1] - at.index[r.rank - 1] : 1;
    n = most;
    if (in_line < n) n = in_line;
    if (end - at.row < n) n = end - at.row;
    with_labels(r.p, [&](const auto* labels) {
      const int64_t step = row_stride(r, r.p);
      for (int64_t j = 0; j < n; ++j) label[j] = labels[at.p + j * step];
    });
  }
  // visit(j, label, its probability as a target) for those that count.
  template <class Visit>
  TI_LANE void each(Visit visit) const {
    const auto* const weight = static_cast<const A*>(r.weight);
    const auto rows = [&](auto weight_of) __attribute__((always_inline)) {
      for (int64_t j = 0; j < n; ++j)
        if (counts(r, label[j])) visit(j, label[j], weight_of(label[j]));
    };
    if (weight)
      rows([&](int64_t c) __attribute__((always_inline)) { return double(weight[c]); });
    else
      rows([](int64_t) __attribute__((always_inline)) { return 1.; });
  }
};

template <class F, class A>
void pick(Rows& r, int64_t begin, int64_t end) {
  Picks<A> rows(r);
  with_type<A>(r.q.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t step = row_stride(r, r.q), class_stride = r.q.class_stride;
    for (Cursor at(r, begin); at.row < end; at.skip(rows.n)) {
      rows.move_to(at, end);
      const T* const x = static_cast<const T*>(r.q.data) + at.q;
      const double scale = r.row_values ? 1 : r.scale;
      double room[Picks<A>::most] = {}, *value = room;
      rows.each([&](int64_t j, int64_t label, double p) __attribute__((always_inline)) {
        const double log_q = widen<1>(x + j * step + label * class_stride)[0];
        value[j] = F::term(Prob<double>{p, 0}, Prob<double>{0, log_q}) * scale;
      });
      if (r.row_values)
        __builtin_memcpy(r.row_values + at.row, value, rows.n * sizeof(double));
      else
        store_numbers(r.value, at.value, row_stride(r, r.value), value, rows.n);
    }
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
  const Operand& to = r.gradient;
  const int64_t step = row_stride(r, to), step_g = row_stride(r, r.g);
  Picks<A> rows(r);
  with_type<A>(to.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (Cursor at(r, begin); at.row < end; at.skip(rows.n)) {
      rows.move_to(at, end);
      T* const x = static_cast<T*>(const_cast<void*>(to.data)) + at.gradient;
      clear_rows(r, x, rows.n);
      // Of all these rows, if g is one number.
      const double scale = r.scale * load_number(r.g, at.g);
      rows.each([&](int64_t j, int64_t label, double p) __attribute__((always_inline)) {
        // The derivative by log q does not depend on q: the formula is linear in it.
        const double w = gradient_by_q<F, kLogProbs>(Prob<double>{p, 0}, Prob<double>{0, 0}, 0.);
        put_number(x + j * step + label * to.class_stride,
                   w * (step_g ? r.scale * load_number(r.g, at.g + j * step_g) : scale));
      });
    }
  });
}

}  // namespace
}  // namespace torch_infotheory
