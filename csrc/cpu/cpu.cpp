// cpu.cpp -- the CPU key of every row op: instruction set, and the reduction over the rows.
//
// Knows tensors and the border struct; must not know formulas by name or how a row is reduced.
#include <ATen/Version.h>
#include <torch/library.h>

#include <vector>

#include "core/sources.h"
#include "cpu/call.h"
#include "cpu/memory.h"

namespace torch_infotheory {

namespace {

const KernelTable& kernels() {
  static const KernelTable table = [] {
#if defined(__x86_64__)
    const std::string isa = at::get_cpu_capability();  // honours ATEN_CPU_CAPABILITY
    if (isa == "AVX512") return kernels_avx512();
    if (isa == "AVX2") return kernels_avx2();
#endif
    return kernels_default();
  }();
  return table;
}
template <class F>
Kernel kernel_of(bool in_double, bool backward) {
  if constexpr (is_table<F>) {
    const TableKernels& k = kernels().tables[index_of<F>(TableFormulas{})];
    return backward ? k.backward : k.forward;
  } else {
    const RowKernels& k = kernels().rows[index_of<F>(RowFormulas{})];
    return backward ? k.backward[in_double] : k.forward[in_double];
  }
}

// What the mean divides by: the rows or, with labels, the weights of those that count.
template <class F>
double rows_in_mean(const Operands& x, const Options& o, Call& call) {
  if (!o.has_labels()) return double(call.rows.rows);
  const auto weight = x.weight ? x.weight->to(at::kDouble).contiguous() : Tensor();
  const double* w = weight.defined() ? weight.const_data_ptr<double>() : nullptr;
  const Tensor labels = x.p.contiguous();
  const Operand flat{labels.const_data_ptr(), kLabels, type_of(labels), 0, nullptr};
  double total = 0;
  for (int64_t i = 0; i < call.rows.rows; ++i) {
    const int64_t label = label_at(flat, i);
    if (label == o.ignore_index) continue;
    TORCH_CHECK_INDEX(label >= 0 && label < call.rows.classes, "Target ", label,
                      " is out of bounds.");
    total += w ? w[label] : 1;
  }
  return total;
}

template <class F>
std::tuple<Tensor, Tensor> forward_cpu(const Tensor& p, const optional<Tensor>& q,
                                       const optional<Tensor>& weight, int64_t dim, int64_t kinds,
                                       int64_t reduction, int64_t ignore_index,
                                       double label_smoothing, double scale,
                                       optional<ScalarType> dtype) {
  const Options o{dim, kinds, reduction, ignore_index, label_smoothing, scale};
  const Operands x{p, q, weight};
  check_operands<F, int64_t>(x, o);
  auto out = allocate<F, int64_t>(x, o, dtype);
  Tensor& value = std::get<0>(out);
  Call call = Call::of<F>(x, o);
  TORCH_CHECK(call.rows.classes * call.rows.x_classes > 0 || o.has_labels() || o.is_elementwise(),
              F::name, ": expected at least one class, got ", x.full(o).sym_sizes());
  const bool reduced = o.is_reduced();
  const bool flat = o.is_elementwise() && p.is_contiguous() && (!q || q->is_contiguous());
  std::vector<double> row_values(reduced ? flat ? segments_of(p.numel()) : call.rows.rows : 0);
  if (reduced)
    call.rows.row_values = row_values.data();
  else
    call.rows.value = call.operand<F>(2, value, wrapped_dim(x.full(o), o.dim), kProbs);
  call.rows.elementwise = o.is_elementwise();
  call.rows.saved = std::get<1>(out).template mutable_data_ptr<double>();
  const Kernel kernel = kernel_of<F>(needs_double(x), false);
  if (flat) {
    std::get<1>(out).zero_();  // elements have no rows to keep anything of
    call.run_flat(kernel, p.numel());
  } else {
    call.finish();
    call.run(kernel, is_table<F>);
  }
  if (reduced) {
    double total = 0;
    for (const double v : row_values) total += v;
    if (o.reduction == kMean) total /= rows_in_mean<F>(x, o, call);
    total *= o.scale;
    if (value.scalar_type() == at::kFloat)
      *value.mutable_data_ptr<float>() = float(total);
    else
      value.fill_(total);
  }
  return out;
}

template <class F>
Tensor backward_cpu(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                    const optional<Tensor>& weight, const Tensor& saved, int64_t dim, int64_t kinds,
                    int64_t reduction, int64_t ignore_index, double label_smoothing, double scale,
                    int64_t wrt) {
  const Options o{dim, kinds, reduction, ignore_index, label_smoothing, scale};
  const Operands x{p, q, weight};
  check_backward_operands<F, int64_t>(g, saved, x, o, wrt);
  Call call = Call::of<F>(x, o);
  const Tensor& by = wrt ? *q : p;
  Tensor gradient = allocate_gradient<int64_t>(by);
  advise_huge_pages(gradient);
  const int64_t class_dim = wrapped_dim(x.full(o), o.dim);
  call.rows.gradient = call.operand<F>(4, gradient, class_dim, kProbs);
  call.rows.g = call.operand<F>(3, g, class_dim, kProbs);
  call.rows.elementwise = o.is_elementwise();
  call.rows.g_per_class = o.reduction == kTerms;
  call.rows.by_q = wrt == 1;
  if (o.reduction == kMean) call.rows.scale /= rows_in_mean<F>(x, o, call);
  const Tensor stats = saved.contiguous();
  call.rows.saved = const_cast<double*>(stats.const_data_ptr<double>());
  const Kernel kernel = kernel_of<F>(needs_double(x), true);
  if (o.is_elementwise() && p.is_contiguous() && (!q || q->is_contiguous()) &&
      (g.dim() == 0 || g.is_contiguous())) {
    call.run_flat(kernel, p.numel());
  } else {
    call.finish();
    call.run(kernel, is_table<F>);
  }
  return gradient;
}

TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) {
  each_formula([&](auto formula) {
    using F = decltype(formula);
    m.impl(forward_name<F>().c_str(), &forward_cpu<F>);
    m.impl(backward_name<F>().c_str(), &backward_cpu<F>);
  });
}

}  // namespace
}  // namespace torch_infotheory
