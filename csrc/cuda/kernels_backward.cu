// kernels_backward.cu -- the gradients of every row formula, compiled and launched.
//
// Knows formulas by their position in core/formulas.h; must not know tensors.
#include "cuda/gradients.cuh"
#include "cuda/kernels.h"

namespace torch_infotheory {
namespace {

template <class F, int p_kind, bool by_q>
void write_gradient(const DeviceRows& d, const Plan& plan, device::Stream stream) {
  with_type(plan, [&](auto a, auto type) {
    using A = typename decltype(a)::type;
    constexpr int t = decltype(type)::value;
    if constexpr (t == kAny)
      device::launch(backward_rows<F, A, kAny, kAny, kAny, by_q>, d.geometry, stream, d);
    else
      device::launch(backward_rows<F, A, t, p_kind, kLogits, by_q>, d.geometry, stream, d);
  });
}
template <class F>
void backward(DeviceRows d, const Plan& plan, device::Stream stream) {
  if constexpr (F::arity == 2) {
    if constexpr (F::linear)
      if (d.rows.p.kind == kLabels) return write_gradient<F, kLabels, true>(d, plan, stream);
    if (d.rows.by_q) return write_gradient<F, kLogits, true>(d, plan, stream);
  }
  write_gradient<F, kLogits, false>(d, plan, stream);
}
template <class... F>
DeviceKernel backward_of(List<F...>, int formula) {
  static constexpr DeviceKernel table[] = {backward<F>...};
  return table[formula];
}

}  // namespace

DeviceKernel row_backward(int formula) { return backward_of(RowFormulas{}, formula); }

}  // namespace torch_infotheory
