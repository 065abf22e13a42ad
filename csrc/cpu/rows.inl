// rows.inl -- the two kernels of a row formula on the CPU, forward and backward.
//
// Compiled once per instruction set. Knows sources and the names of a formula's parts; must not
// know any formula by name, tensors, threads, or torch. Read first: values.inl and gradient.inl;
// next: tables.inl.
#pragma once
#include "cpu/picks.inl"

namespace torch_infotheory {
namespace {

// Whether denormals may be flushed: not where a probability is read as it stands, for the least of
// them count too.
inline bool may_flush(const Rows& r) {
  return r.p.kind != kProbs && (!r.q.data || r.q.kind != kProbs);
}

template <class F, class A>
void forward(Rows& r, int64_t begin, int64_t end, double*) {
  if constexpr (takes_labels<F>)
    if (r.picks()) return pick<F, A>(r, begin, end);
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if (r.pointwise())
      write_terms<F, A>(r, begin, end);
    else if (r.segment)
      forward_segments<F, A>(r, begin, end);
    else
      forward_rows<F, A>(r, begin, end);
  });
}

template <class F, class A>
void backward(Rows& r, int64_t begin, int64_t end, double*) {
  if constexpr (takes_labels<F>)
    if (r.picks()) return scatter<F, A>(r, begin, end);
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if constexpr (F::arity == 2)
      if (r.by_q) return write_gradient<F, A, true>(r, begin, end);
    write_gradient<F, A, false>(r, begin, end);
  });
}

template <class... F>
const Kernels* row_kernels(List<F...>) {
  static constexpr Kernels table[] = {
      {{forward<F, float>, forward<F, double>}, {backward<F, float>, backward<F, double>}}...};
  return table;
}

}  // namespace
}  // namespace torch_infotheory
