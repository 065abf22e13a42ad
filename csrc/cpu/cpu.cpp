// cpu.cpp -- the CPU key of every row op: layout, instruction set, threads, reduction over the
// rows.
//
// Knows tensors and the border struct; must not know formulas by name or how a row is reduced.
#include <ATen/Version.h>
#include <torch/library.h>

#include <cmath>
#include <vector>

#include "core/sources.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "dispatch/ops.h"

namespace torch_infotheory {

KernelTable kernels_default();
#if defined(__x86_64__)
KernelTable kernels_avx2();
KernelTable kernels_avx512();
#endif

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

Type type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case at::kFloat:
      return kFloat;
    case at::kDouble:
      return kDouble;
    case at::kBFloat16:
      return kBFloat16;
    case at::kHalf:
      return kHalf;
    case at::kByte:
      return kUInt8;
    case at::kChar:
      return kInt8;
    case at::kShort:
      return kInt16;
    case at::kInt:
      return kInt32;
    case at::kLong:
      return kInt64;
    default:
      TORCH_CHECK_TYPE(false, "torch_infotheory: no kernel for ", t.scalar_type());
  }
}
bool needs_double(const Operands& x) {
  return x.p.scalar_type() == at::kDouble || (x.q && x.q->scalar_type() == at::kDouble);
}

constexpr int64_t kSegment = 8192;
int64_t segments_of(int64_t elements) { return (elements + kSegment - 1) / kSegment; }

// Rows, with the memory that it points into.
struct Call {
  Rows rows;
  std::vector<int64_t> sizes, strides[5];
  Tensor weight;

  template <class F>
  static Call of(const Operands& x, const Options& o) {
    Call c;
    const Tensor& full = x.full(o);
    const int64_t dim = wrapped_dim(full, o.dim);
    for (const int64_t n : row_shape<F, int64_t>(full, dim)) c.sizes.push_back(n);
    c.rows.rows = 1;
    for (const int64_t n : c.sizes) c.rows.rows *= n;
    c.rows.classes = full.dim() == 0 ? 1 : is_table<F> ? full.size(-1) : full.size(dim);
    if (is_table<F>) {
      c.rows.x_classes = full.size(-2);
      c.rows.p_x_stride = full.stride(-2);
    }
    c.rows.p = c.template operand<F>(0, x.p, dim, o.p_kind());
    if (x.q) c.rows.q = c.template operand<F>(1, *x.q, dim, o.q_kind());
    if (x.weight) {
      c.weight = x.weight->to(needs_double(x) ? at::kDouble : at::kFloat).contiguous();
      c.rows.weight = c.weight.const_data_ptr();
    }
    c.rows.label_smoothing = o.label_smoothing;
    c.rows.ignore_index = o.ignore_index;
    c.rows.scale = o.scale;
    return c;
  }
  // The strides of t over the rows; t has either all dimensions or those of the rows alone, or one
  // element for all rows.
  template <class F>
  Operand operand(int slot, const Tensor& t, int64_t dim, Kind kind) {
    Operand x{t.const_data_ptr(), kind, type_of(t), 0, nullptr};
    const bool rows_only = t.dim() == int64_t(sizes.size());
    if (t.dim() == 0 && !sizes.empty()) {
      strides[slot].assign(sizes.size(), 0);
      return x;
    }
    for (int64_t d = 0; d < t.dim(); ++d)
      if (rows_only || !is_class_dim<F>(d, dim, t.dim())) strides[slot].push_back(t.stride(d));
    if (!rows_only) x.class_stride = is_table<F> ? t.stride(-1) : t.stride(dim);
    return x;
  }
  // Neighbouring dimensions that every operand walks as one become one; then the pointers are
  // final.
  Rows& finish() {
    size_t rank = 0;
    for (size_t d = 0; d < sizes.size(); ++d) {
      bool joins = rank > 0;
      for (const auto& s : strides)
        if (joins && !s.empty()) joins = s[rank - 1] == s[d] * sizes[d];
      if (!joins) ++rank;
      sizes[rank - 1] = joins ? sizes[rank - 1] * sizes[d] : sizes[d];
      for (auto& s : strides)
        if (!s.empty()) s[rank - 1] = s[d];
    }
    rows.rank = int(rank);
    rows.sizes = sizes.data();
    Operand* const operands[] = {&rows.p, &rows.q, &rows.value, &rows.g, &rows.gradient};
    for (int i = 0; i < 5; ++i)
      operands[i]->row_strides = strides[i].empty() ? nullptr : strides[i].data();
    return rows;
  }
  void run(Kernel kernel, bool is_table) {
    const int64_t per_row = rows.classes * rows.x_classes;
    const int64_t grain = std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, per_row));
    parallel_for(rows.rows, grain, [&](int64_t begin, int64_t end) {
      std::vector<double> scratch(is_table ? rows.x_classes + rows.classes + kScratchSpare : 0);
      kernel(rows, begin, end, scratch.data());
    });
    TORCH_CHECK_INDEX(!rows.has_bad_label, "Target ", rows.bad_label, " is out of bounds.");
  }
  // Elements without rows: contiguous memory in segments that do not depend on the number of
  // threads.
  void run_flat(Kernel kernel, int64_t elements) {
    parallel_for(segments_of(elements), kElementsPerThread / kSegment,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t s = begin; s < end; ++s) {
                     double unused[4] = {};
                     Rows part = rows;
                     const int64_t first = s * kSegment;
                     for (Operand* x : {&part.p, &part.q, &part.value, &part.gradient, &part.g}) {
                       x->row_strides = nullptr;
                       if (!x->data || (x == &part.g && !part.g_per_class)) continue;
                       x->class_stride = 1;
                       x->data = static_cast<const char*>(x->data) + first * size_of(x->type);
                     }
                     part.rank = 0;
                     part.rows = 1;
                     part.classes = std::min(kSegment, elements - first);
                     part.saved = unused;
                     if (part.row_values) part.row_values += s;
                     kernel(part, 0, 1, nullptr);
                   }
                 });
  }
  static constexpr int64_t kElementsPerThread = 32768;  // a thread is not worth waking for less
};

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
  const bool terms = o.reduction == kTerms, reduced = !terms && o.reduction != kNone;
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
  check_backward_operands<F, int64_t>(g, saved, x, o);
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
