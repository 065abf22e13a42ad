// cpu.cpp -- the CPU key of every row op: instruction set, and the reduction over the rows.
//
// Knows tensors and the border struct; must not know formulas by name or how a row is reduced.
#include <ATen/Version.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>

#include "core/sources.h"
#include "cpu/memory.h"
#include "cpu/run.h"
#include "dispatch/call.h"

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
const Kernels& kernels_of() {
  if constexpr (is_table<F>)
    return kernels().tables[index_of<F>(TableFormulas{})];
  else
    return kernels().rows[index_of<F>(RowFormulas{})];
}

// Numbers of rows in their order, several sums side by side: one alone would wait for each
// addition.
template <class Number>
double sum_of(int64_t n, Number number) {
  constexpr int64_t sums = 8;
  double part[sums] = {};
  int64_t i = 0;
  for (; i + sums <= n; i += sums)
    for (int64_t k = 0; k < sums; ++k) part[k] += number(i + k);
  for (int64_t k = 0; i + k < n; ++k) part[k] += number(i + k);
  return std::accumulate(part, part + sums, 0.);
}

// What the mean divides by: the rows or, with labels, the weights of those that count.
double rows_in_mean(const Operands& x, const Options& o, const Call& call) {
  const Rows& r = call.rows;
  if (!o.has_labels()) return double(r.rows);
  const Tensor labels = x.p.contiguous();
  const Operand flat{labels.const_data_ptr(), kLabels, r.p.type, 0, nullptr};
  return with_labels(flat, [&](const auto* label) {
    if (!r.weight) return double(r.rows - std::count(label, label + r.rows, o.ignore_index));
    // No branch in the loop: a label out of range is looked for where there is one.
    const auto counts = [&](int64_t c) { return c >= 0 && c < r.classes && c != o.ignore_index; };
    const auto weights = [&](const auto* weight) {
      bool all = true;
      const double total = sum_of(r.classes ? r.rows : 0, [&](int64_t i) {
        const int64_t c = label[i];
        all &= counts(c) | (c == o.ignore_index);
        return counts(c) ? double(weight[counts(c) ? c : 0]) : 0.;
      });
      for (int64_t i = 0; i < r.rows && !all; ++i)
        TORCH_CHECK_INDEX(counts(label[i]) || label[i] == o.ignore_index, "Target ",
                          int64_t(label[i]), " is out of bounds.");
      return total;
    };
    return needs_double(x) ? weights(static_cast<const double*>(r.weight))
                           : weights(static_cast<const float*>(r.weight));
  });
}

void check_labels(const Rows& rows) {
  TORCH_CHECK_INDEX(!rows.has_bad_label, "Target ", rows.bad_label, " is out of bounds.");
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
  Call call = Call::forward<F>(x, o, value, std::get<1>(out));
  const bool reduced = o.is_reduced();
  const int64_t numbers = reduced ? call.flat ? segments_of(p.numel()) : call.rows.rows : 0;
  const auto row_values = std::make_unique_for_overwrite<double[]>(numbers);
  if (reduced) call.rows.row_values = row_values.get();
  const Kernel kernel = kernels_of<F>().forward[needs_double(x)];
  if (call.flat) {
    run_flat(kernel, call.rows, p.numel());
  } else {
    run(kernel, call.finish(), is_table<F>, /*backward=*/false);
    check_labels(call.rows);
  }
  if (reduced) {
    double total = sum_of(numbers, [&](int64_t i) { return row_values[i]; });
    if (o.reduction == kMean) total /= rows_in_mean(x, o, call);
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
  Tensor gradient = allocate_gradient<int64_t>(wrt ? *q : p);
  advise_huge_pages(gradient);
  Call call = Call::backward<F>(x, o, g, saved, wrt, gradient);
  if (o.reduction == kMean) call.rows.scale /= rows_in_mean(x, o, call);
  const Kernel kernel = kernels_of<F>().backward[needs_double(x)];
  if (call.flat) {
    run_flat(kernel, call.rows, p.numel());
  } else {
    run(kernel, call.finish(), is_table<F>, /*backward=*/true);
    check_labels(call.rows);
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
