// picks.inl -- labels against log-probabilities: of each row one class is read, and one is written.
//
// Knows sources; must not know any formula by name, tensors, threads, or torch. Read next:
// rows.inl.
#pragma once
#include "cpu/gradient.inl"
#include "cpu/values.inl"

namespace torch_infotheory {
namespace {

template <class F, class A>
void pick(Rows& r, int64_t begin, int64_t end) {
  const Target<A> target(r);
  Labels labels;
  Results out;
  each_run(r, begin, end, [&](const Run& run) {
    labels.read(r, run, target);
    labels.look_up(r, run);
    for (int64_t j = 0; j < run.n; ++j) out.clear(j);
    add_peaks<F>(labels, /*logits=*/false, out);
    keep<F>(r, run, out);
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
  Given<F, A, /*by_q=*/true> given(r);
  with_type<A>(r.gradient.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    each_run(r, begin, end, [&](const Run& run) {
      given.move_to(run);
      clear_rows(r, static_cast<T*>(const_cast<void*>(r.gradient.data)) + run.at.gradient, run.n);
      given.write_peaks(run, 0, r.classes);
    });
  });
}

}  // namespace
}  // namespace torch_infotheory
