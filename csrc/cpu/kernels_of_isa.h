// kernels_of_isa.h -- the kernel table of one instruction set, which the including file chooses.
#pragma once
#include "cpu/kernels.h"
#include "cpu/rows/backward.h"
#include "cpu/rows/forward.h"
#include "cpu/rows/gather.h"
#include "cpu/tables/reduce.h"

namespace torch_infotheory {
namespace {

// Whether denormals may be flushed: not where probabilities are read from memory, because the
// smallest ones count too.
inline bool may_flush(const Rows& r) {
  return r.p.kind != kProbs && (!r.q.data || r.q.kind != kProbs);
}

template <class F, class A>
void forward(Rows& r, int64_t begin, int64_t end, double*) {
  if constexpr (takes_labels<F>)
    if (r.gathers()) return gather_forward<F, A>(r, begin, end);
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if constexpr (has_terms<F>)
      if (r.pointwise()) return write_terms<F, A>(r, begin, end);
    if (r.segment)
      forward_segments<F, A>(r, begin, end);
    else
      forward_rows<F, A>(r, begin, end);
  });
}

template <class F, class A>
void backward(Rows& r, int64_t begin, int64_t end, double*) {
  if constexpr (takes_labels<F>)
    if (r.gathers()) return gather_backward<F, A>(r, begin, end);
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if constexpr (F::arity == 2) {
      if (r.wrt == kWrtBoth) return write_gradients<F, A, kWrtBoth>(r, begin, end);
      if (r.wrt == kWrtQ) return write_gradients<F, A, kWrtQ>(r, begin, end);
    }
    write_gradients<F, A, kWrtP>(r, begin, end);
  });
}

template <class... F>
const Kernels* row_kernels(List<F...>) {
  static constexpr Kernels table[] = {
      {{forward<F, float>, forward<F, double>}, {backward<F, float>, backward<F, double>}}...};
  return table;
}

template <class F, class A>
void table_forward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if (SmallTables<A>::is_faster(r))
      reduce_small_tables<F, A>(r, begin, end, scratch);
    else
      reduce_tables<F, A>(r, begin, end, scratch);
  });
}
template <class F, class A>
void table_backward(Rows& r, int64_t begin, int64_t end, double* scratch) {
  flushing_denormals(may_flush(r), [&]() __attribute__((always_inline)) {
    if (SmallTables<A>::is_faster(r))
      write_small_tables<F, A>(r, begin, end);
    else
      write_tables<F, A>(r, begin, end, scratch);
  });
}

template <class... F>
const Kernels* table_kernels(List<F...>) {
  static constexpr Kernels table[] = {{{table_forward<F, float>, table_forward<F, double>},
                                       {table_backward<F, float>, table_backward<F, double>}}...};
  return table;
}

}  // namespace

KernelTable TI_ISA() {
  return {row_kernels(RowFormulas{}),
          table_kernels(TableFormulas{}),
          {sum_label_weights<float>, sum_label_weights<double>}};
}

}  // namespace torch_infotheory
