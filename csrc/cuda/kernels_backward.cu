// kernels_backward.cu -- compiles and launches the gradients of every row formula.
#include "cuda/backward.cuh"
#include "cuda/kernels.h"

namespace torch_infotheory {
namespace {

template <class F, int p_kind, bool by_q>
void launch_backward(const DeviceRows& d, const Plan& plan, device::Stream stream) {
  dispatch_type(plan, [&](auto compute, auto memory) {
    using A = typename decltype(compute)::type;
    constexpr int type = decltype(memory)::value;
    const F f = formula<F>(d.rows.parameter);
    if constexpr (type == kDynamic)
      device::launch(backward_rows<F, A, kDynamic, kDynamic, kDynamic, by_q>, d.geometry, stream, d,
                     f);
    else
      device::launch(backward_rows<F, A, type, p_kind, kLogits, by_q>, d.geometry, stream, d, f);
  });
}
template <class F>
void backward(DeviceRows d, const Plan& plan, device::Stream stream) {
  if constexpr (F::arity == 2) {
    if constexpr (F::linear)
      if (d.rows.p.kind == kLabels) return launch_backward<F, kLabels, true>(d, plan, stream);
    if (d.rows.wrt == kWrtQ) return launch_backward<F, kLogits, true>(d, plan, stream);
  }
  launch_backward<F, kLogits, false>(d, plan, stream);
}
template <class... F>
DeviceKernel backward_of(List<F...>, int formula) {
  static constexpr DeviceKernel table[] = {backward<F>...};
  return table[formula];
}

}  // namespace

DeviceKernel row_backward(int formula) { return backward_of(RowFormulas{}, formula); }

}  // namespace torch_infotheory
