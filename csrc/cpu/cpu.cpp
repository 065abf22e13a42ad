// cpu.cpp -- the CPU key of every row op: instruction set, and the reduction over the rows.
#include "dispatch/cpu.h"

#include <ATen/Version.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <string>

#include "core/sources.h"
#include "cpu/huge_pages.h"
#include "cpu/run_rows.h"
#include "dispatch/call.h"
#include "dispatch/devices.h"

namespace torch_infotheory {

std::string cpu_instruction_set() {
#if defined(__x86_64__)
  const std::string isa = at::get_cpu_capability();  // honours ATEN_CPU_CAPABILITY
  if (isa == "AVX512") return "avx512";
  if (isa == "AVX2") return "avx2";
#endif
  return "default";
}

namespace {

KernelTable kernels([[maybe_unused]] bool wide) {
#if defined(__x86_64__)
  const std::string isa = cpu_instruction_set();
  if (isa == "avx512" && wide) return kernels_avx512();
  if (isa != "default") return kernels_avx2();
#endif
  return kernels_default();
}
// Gathering gains nothing from the widest registers, while some processors lower their clock for a
// while once these have been used, so that a small call and what follows it take longer.
const KernelTable& kernels_for(const Rows& rows) {
  static const KernelTable narrow = kernels(/*wide=*/false), wide = kernels(/*wide=*/true);
  return rows.gathers() ? narrow : wide;
}
template <class F>
const Kernels& kernels_of(const Rows& rows) {
  const KernelTable& table = kernels_for(rows);
  if constexpr (is_table<F>)
    return table.tables[index_of<F>(TableFormulas{})];
  else
    return table.rows[index_of<F>(RowFormulas{})];
}

// The divisor of the mean: the number of rows or, with labels, the sum of their weights.
double rows_in_mean(const Operands& x, const Options& o, Rows& rows) {
  if (!o.has_labels()) return double(rows.rows);
  constexpr int64_t each = kElementsPerThread;
  rows.rows_per_sum = RowRange::most_gathered;
  const int64_t sums = pieces_of(rows, rows.rows_per_sum);
  const auto memory = std::make_unique_for_overwrite<double[]>(sums);
  rows.row_weights = memory.get();
  run_pieces(kernels_for(rows).sum_label_weights[needs_double(x)], rows, each);
  rows.row_weights = nullptr;
  return pairwise_sum(memory.get(), sums);
}

void check_labels(const Rows& rows) {
  TORCH_CHECK_INDEX(!rows.has_bad_label, "Target ", rows.bad_label, " is out of bounds.");
}

template <class F>
std::tuple<Tensor, Tensor> forward_cpu(const Operands& x, const Options& o,
                                       optional<ScalarType> dtype) {
  check_operands<F, int64_t>(x, o);
  auto out = allocate<F, int64_t>(x, o, dtype);
  Tensor& value = std::get<0>(out);
  Call call = Call::forward<F>(x, o, value, std::get<1>(out));
  Rows& rows = call.flat ? call.rows : call.finish();
  const bool reduced = o.is_reduced();
  rows.rows_per_sum = call.flat ? 1 : rows_per_sum(rows, rows_per_piece(rows, /*backward=*/false));
  const int64_t sums = !reduced    ? 0
                       : call.flat ? segments_of(x.p.numel())
                                   : pieces_of(rows, rows.rows_per_sum);
  const auto memory = std::make_unique_for_overwrite<double[]>(2 * sums);
  if (reduced) rows.row_values = memory.get();
  if (o.reduction == kMean && o.has_labels()) rows.row_weights = memory.get() + sums;
  const Kernel kernel = kernels_of<F>(rows).forward[needs_double(x)];
  if (call.flat) {
    run_flat(kernel, rows, x.p.numel());
  } else {
    run(kernel, rows, is_table<F>, /*backward=*/false);
    check_labels(rows);
  }
  if (reduced) {
    double total = pairwise_sum(rows.row_values, sums);
    if (o.reduction == kMean)
      total /= rows.row_weights ? pairwise_sum(rows.row_weights, sums) : double(rows.rows);
    total *= o.scale;
    if (value.scalar_type() == at::kFloat)
      *value.mutable_data_ptr<float>() = float(total);
    else
      value.fill_(total);
  }
  return out;
}

// Its callers have checked the operands. With two gradients the kinds of p and q are the same.
template <class F>
void write_gradients(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                     const Gradients& gradients) {
  Call call = Call::backward<F>(x, o, g, saved, gradients);
  Rows& rows = call.flat ? call.rows : call.finish();
  if (o.reduction == kMean) rows.scale /= rows_in_mean(x, o, rows);
  const Kernel kernel = kernels_of<F>(rows).backward[needs_double(x)];
  if (call.flat) {
    run_flat(kernel, rows, x.p.numel());
  } else {
    run(kernel, rows, is_table<F>, /*backward=*/true);
    check_labels(rows);
  }
}
template <class F>
void write_gradient(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                    int64_t wrt, const Tensor& gradient) {
  write_gradients<F>(g, x, saved, o, only(wrt, gradient));
}
template <class... F>
WriteGradient* writer_of(int formula, List<F...>) {
  constexpr WriteGradient* writers[] = {&write_gradient<F>...};
  return writers[formula];
}
template <class F>
Tensor backward_cpu(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                    int64_t wrt) {
  check_backward_operands<F, int64_t>(g, saved, x, o, wrt);
  const Tensor gradient = allocate_gradient<F, int64_t>(x.input(wrt));
  advise_huge_pages(gradient);
  write_gradient<F>(g, x, saved, o, wrt, gradient);
  return gradient;
}
// Both gradients in one pass over the operands.
template <class F>
std::tuple<Tensor, Tensor> backward_both_cpu(const Tensor& g, const Operands& x,
                                             const Tensor& saved, const Options& o) {
  if (o.p_kind != o.q_kind)
    return {backward_cpu<F>(g, x, saved, o, kWrtP), backward_cpu<F>(g, x, saved, o, kWrtQ)};
  check_backward_operands<F, int64_t>(g, saved, x, o, kWrtP);
  const Gradients both{allocate_gradient<F, int64_t>(x.p), allocate_gradient<F, int64_t>(*x.q)};
  for (const Tensor& gradient : both) advise_huge_pages(gradient);
  write_gradients<F>(g, x, saved, o, both);
  return {both[kWrtP], both[kWrtQ]};
}

TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) {
  each_formula([&](auto formula) {
    using F = typename decltype(formula)::type;
    register_forward<F, &forward_cpu<F>>(m);
    register_backward<F, &backward_cpu<F>>(m);
    if constexpr (F::arity == 2) register_backward_both<F, &backward_both_cpu<F>>(m);
  });
}

}  // namespace

WriteGradient* gradient_writer_cpu(int formula) { return writer_of(formula, RowFormulas{}); }

}  // namespace torch_infotheory
