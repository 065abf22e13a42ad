// cuda.cu -- registers every row op for the CUDA dispatch key.
//
// Everything is enqueued on the current stream; nothing synchronizes with the host.
#include <torch/library.h>

#include "cuda/kernels.h"
#include "cuda/stream.h"
#include "dispatch/call.h"

namespace torch_infotheory {
namespace {

// Calls allocate(scratch) twice: to count, and with memory. The caller may free the memory while
// the kernels still run, because torch's allocator reuses it in stream order.
template <class Allocate>
Tensor with_scratch(const Tensor& like, Allocate allocate) {
  Scratch counter;
  allocate(counter);
  Tensor owner = at::empty({counter.used()}, like.options().dtype(at::kDouble));
  Scratch scratch(owner.mutable_data_ptr<double>());
  allocate(scratch);
  return owner;
}

// Treats elements without rows, in contiguous memory, as a single row.
void make_one_row(Rows& r, int64_t elements) {
  for (Operand* x : {&r.p, &r.q, &r.value, &r.g, &r.gradients[r.wrt]}) {
    x->row_strides = nullptr;
    x->class_stride = x != &r.g || r.g_per_class;
  }
  r.rank = 0;
  r.rows = elements > 0;
  r.classes = elements;
}
Rows& rows_of(Call& call, int64_t elements) {
  if (call.flat)
    make_one_row(call.rows, elements);
  else
    call.finish();
  return call.rows;
}

template <class F>
DeviceKernel kernel_of(bool backward) {
  if constexpr (is_table<F>) {
    constexpr int formula = index_of<F>(TableFormulas{});
    return backward ? table_backward(formula) : table_forward(formula);
  } else {
    constexpr int formula = index_of<F>(RowFormulas{});
    return backward ? row_backward(formula) : row_forward(formula);
  }
}

template <class F>
std::tuple<Tensor, Tensor> forward_cuda(const Operands& x, const Options& o,
                                        optional<ScalarType> dtype) {
  const device::Guard guard(x.p.device());
  const device::Stream stream = device::current_stream();
  check_operands<F, int64_t>(x, o);
  const auto out = allocate<F, int64_t>(x, o, dtype);
  const auto& [value, saved] = out;
  Call call = Call::forward<F>(x, o, value, saved);
  const Rows& r = rows_of(call, x.p.numel());
  const bool reduced = o.is_reduced();
  const Plan plan = plan_forward<F>(r, reduced, device::max_dynamic_shared);
  const Geometry& g = plan.geometry;
  const int64_t row_values = r.rows * (r.elementwise ? g.segments : 1);
  DeviceRows d(r, g, plan.in_double);
  BlockTotals* totals = nullptr;
  const Tensor scratch_memory = with_scratch(x.p, [&](Scratch& scratch) {
    d.allocate_scratch(scratch, is_table<F>, /*backward=*/false);
    if (!reduced) return;
    d.rows.row_values = scratch.allocate<double>(row_values);
    totals = allocate_totals(scratch, row_values);
  });
  if (reduced) d.rows.value = {value.mutable_data_ptr(), kProbs, type_of(value)};
  kernel_of<F>(false)(d, plan, stream);
  if (reduced) {
    const bool mean = o.reduction == kMean, weighted = mean && o.has_labels();
    const double factor = o.scale / (mean && !weighted ? double(r.rows) : 1);
    reduce_rows(d, row_values, weighted, factor, totals, nullptr, stream);
  }
  device::check_launches();
  return out;
}

template <class F>
Tensor backward_cuda(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                     int64_t wrt) {
  const device::Guard guard(x.p.device());
  const device::Stream stream = device::current_stream();
  check_backward_operands<F, int64_t>(g, saved, x, o, wrt);
  const Tensor gradient = allocate_gradient<F, int64_t>(x.input(wrt));
  if (gradient.numel() == 0) return gradient;
  Call call = Call::backward<F>(x, o, g, saved, only(wrt, gradient));
  Rows& r = rows_of(call, x.p.numel());
  const bool mean = o.reduction == kMean, weighted = mean && o.has_labels();
  if (mean && !weighted) r.scale /= double(r.rows);

  const Plan plan = plan_backward<F>(r);
  DeviceRows d(r, plan.geometry, plan.in_double);
  BlockTotals* totals = nullptr;
  double* divisor = nullptr;
  const Tensor scratch_memory = with_scratch(x.p, [&](Scratch& scratch) {
    d.allocate_scratch(scratch, is_table<F>, /*backward=*/true);
    if (!weighted) return;
    divisor = scratch.allocate<double>(1);
    totals = allocate_totals(scratch, r.rows);
  });
  if (weighted) reduce_rows(d, r.rows, weighted, 1, totals, divisor, stream);
  d.divisor = divisor;
  kernel_of<F>(true)(d, plan, stream);
  device::check_launches();
  return gradient;
}

TORCH_LIBRARY_IMPL(torch_infotheory, CUDA, m) {
  each_formula([&](auto formula) {
    using F = typename decltype(formula)::type;
    register_row_op<F, &forward_cuda<F>, &backward_cuda<F>>(m);
  });
}

}  // namespace
}  // namespace torch_infotheory
