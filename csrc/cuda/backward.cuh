// backward.cuh -- the kernels that write one number for each class: gradients, and terms.
//
// With the totals that forward has saved, the derivative by each class is independent of the other
// classes: each number is read once and written once, without barriers.
#pragma once
#include "cuda/labels.cuh"

namespace torch_infotheory {
namespace {

// Writes one number for each class of a segment.
template <int n_>
struct PackWriter {
  static constexpr int n = n_;
  char* data;
  int64_t stride;
  Type type;

  __device__ __forceinline__ PackWriter(const Operand& x, int64_t offset, int64_t first_class,
                                        Type type)
      : stride(x.class_stride), type(type) {
    data = static_cast<char*>(const_cast<void*>(x.data)) +
           (offset + first_class * stride) * size_of(type);
  }
  // -1 if there are no packs, also where one would have more than 16 bytes: float64 terms of
  // others.
  __device__ __forceinline__ int misaligned() const {
    const int size = int(size_of(type));
    return stride == 1 && n * size <= 16
               ? int(reinterpret_cast<uintptr_t>(data) & (n * size - 1)) / size
               : -1;
  }
  template <class A>
  __device__ __forceinline__ void store(const ConsecutiveClasses<n>& classes,
                                        const A (&x)[n]) const {
    const int size = int(size_of(type));
    store_pack(data + int64_t(classes.first) * size, n * size, packed(type, x));
  }
  template <class A>
  __device__ __forceinline__ void store(const SingleClasses<n>& classes, const A (&x)[n]) const {
#pragma unroll
    for (int k = 0; k < n; ++k)
      if (classes.has(k)) store_element(data, type, classes[k] * stride, x[k]);
  }
};

// Elementwise quantities: the terms themselves.
template <class F, class A>
__global__ void __launch_bounds__(kMaxThreads, sizeof(A) == 8 ? 1 : 2)
    write_terms(const __grid_constant__ DeviceRows d, const __grid_constant__ F f) {
  using Reader = SegmentReader<A, kDynamic, kDynamic, kDynamic, F::arity == 2>;
  constexpr int n = Reader::n;
  const ThreadGroup group(d.geometry.group_size);
  group.for_each(d.rows.rows * d.geometry.segments, [&](int64_t task, bool active) {
    const Segment segment = segment_of(d, task, active);
    Reader reader(d.rows.p, d.rows.q, segment);
    const PackWriter<n> writer(d.rows.value, segment.offsets.by_operand[DeviceRows::kValue],
                               segment.first_class, d.rows.value.type);
    if (writer.misaligned() != reader.p.misaligned())
      reader.pattern = AccessPattern::one_by_one(segment.classes);
    const A scale(d.rows.scale);
    for_each_pack<Caching::kNone, 1>(group, reader,
                                     [&](const auto& classes, const auto& x, const auto& y) {
                                       Prob<A> a[n], b[n];
                                       A term[n];
                                       reader.p.probabilities(x, a);
                                       reader.q.probabilities(y, b);
#pragma unroll
                                       for (int k = 0; k < n; ++k) {
                                         const Prob<A> q = F::arity == 2 ? b[k] : a[k];
                                         term[k] = with_nan(f.term(a[k], q) * scale, a[k].p, q.p);
                                       }
                                       writer.store(classes, term);
                                     });
  });
}

// The operand by which the gradient is taken.
template <bool by_q, class P, class Q>
__device__ __forceinline__ const auto& chosen(const P& p, const Q& q) {
  if constexpr (by_q)
    return q;
  else
    return p;
}

// The derivatives by n classes of an operand of that kind.
template <Kind kind, bool by_q, class F, int n, class A>
__device__ __forceinline__ void gradient_of_classes(const F& f, const Prob<A> (&a)[n],
                                                    const Prob<A> (&b)[n], A total,
                                                    A (&gradient)[n]) {
#pragma unroll
  for (int k = 0; k < n; ++k) {
    if constexpr (by_q)
      gradient[k] = gradient_by_q<kind>(f, a[k], b[k], total);
    else
      gradient[k] = gradient_by_p<kind>(f, a[k], F::arity == 2 ? b[k] : a[k], total);
  }
}

// Stands for a SegmentReader where at most the class of the label has a gradient: reads nothing.
template <class A, int n_>
struct EmptyRow {
  static constexpr int n = n_;
  using Number = A;
  struct Packs {};
  AccessPattern pattern;
  template <Caching>
  __device__ __forceinline__ Packs load(int) const {
    return {};
  }
  __device__ __forceinline__ void unpack(Packs, A (&)[n], A (&)[n]) const {}
  __device__ __forceinline__ void load_class(int, A&, A&) const {}
};

// The derivative by q at the label, which is class `label` of a segment that begins with class
// `first_class` of its row.
template <class F, class A, class Q>
__device__ __forceinline__ A gradient_at_label(const F& f, const Q& q, const Target<A>& target,
                                               int64_t first_class, int label, A total) {
  const A x = q.element(label), log_q = q.is_logits() ? (x - q.reference) - q.reference_low : x;
  const A label_probability = A(target.smoothing.kept + target.smoothing.spread);
  const Prob<A> p{target.class_weight(first_class + label) * label_probability, 0},
      q_at_label{exp(log_q), log_q};
  return q.is_logits() ? gradient_by_q<kLogits>(f, p, q_at_label, total)
                       : gradient_by_q<kLogProbs>(f, p, q_at_label, total);
}

template <class F, class A, int type, int p_kind, int q_kind, bool by_q>
__global__ void __launch_bounds__(kMaxThreads, sizeof(A) == 8     ? 1
                                               : type == kDynamic ? 2
                                                                  : 3)
    backward_rows(const __grid_constant__ DeviceRows d, const __grid_constant__ F formula_of_call) {
  using Reader = SegmentReader<A, type, p_kind, q_kind, F::arity == 2>;
  constexpr int n = Reader::n;
  constexpr bool is_dynamic = type == kDynamic,
                 may_have_label = by_q && F::linear && (p_kind == kDynamic || p_kind == kLabels);
  const ThreadGroup group(d.geometry.group_size);
  const Target<A> target(d.rows);
  const Rows& r = d.rows;
  const double scale_of_call = d.divisor ? r.scale / *d.divisor : r.scale;
  group.for_each(r.rows * d.geometry.segments, [&](int64_t task, bool active) {
    if (!active) return;
    const Segment segment = segment_of(d, task, active);
    const int64_t row = segment.row, first_class = segment.first_class;
    const auto& offsets = segment.offsets.by_operand;
    Reader reader(d.rows.p, d.rows.q, segment);
    const auto& operand = chosen<by_q>(reader.p, reader.q);
    const PackWriter<n> writer(r.gradients[by_q], offsets[DeviceRows::kGradient], first_class,
                               operand.type());
    if (writer.misaligned() != operand.misaligned())
      reader.pattern = AccessPattern::one_by_one(segment.classes);
    const OperandReader<A, kDynamic, kDynamic> g(r.g, offsets[DeviceRows::kG], first_class);
    reader.p.set_normalizer(r.saved_at(0, kHigh, row), r.saved_at(0, kLogSum, row));
    if (F::arity == 2)
      reader.q.set_normalizer(r.saved_at(1, kHigh, row), r.saved_at(1, kLogSum, row));
    const A saved_total(r.saved_at(by_q, kTotal, row));
    const A log_p_sum(is_log_sum<F> && r.p.kind != kLogits ? r.saved_at(0, kLogSum, row) : 0);
    const auto f = of_row(formula_of_call, saved_total, log_p_sum);
    const A total = total_of_row(formula_of_call, by_q, saved_total);
    const double g_of_row =
        r.g_per_class ? 1 : load_element<double>(r.g.data, r.g.type, offsets[DeviceRows::kG]);
    const A scale(scale_of_call * g_of_row);
    int label_in_segment = kNoClass;
    const auto store = [&](const auto& classes, auto& gradient) {
      if constexpr (may_have_label)
        if (classes.contains(label_in_segment)) {
          const A label_gradient =
              scale * gradient_at_label(f, reader.q, target, first_class, label_in_segment, total);
#pragma unroll
          for (int k = 0; k < n; ++k)
            if (classes[k] == label_in_segment) gradient[k] = label_gradient;
        }
      writer.store(classes, gradient);
    };
    if constexpr (may_have_label) {
      const Label label(r, segment.offsets, active);
      device::device_check(!label.out_of_range);
      const int64_t index = label.index - first_class;
      if (label.has_term() && index >= 0 && index < segment.classes) label_in_segment = int(index);
      if (!label.counts || r.gathers()) {
        const EmptyRow<A, n> empty{
            AccessPattern::in_packs<n>(segment.classes, writer.misaligned())};
        return for_each_pack<Caching::kNone, 1>(group, empty,
                                                [&](const auto& classes, const auto&, const auto&) {
                                                  A gradient[n] = {};
                                                  store(classes, gradient);
                                                });
      }
    }
    const auto store_gradients = [&](const auto& classes, const auto& x, const auto& y) {
      Prob<A> a[n], b[n];
      A gradient[n];
      reader.p.probabilities(x, a);
      if (is_dynamic && !reader.p.is_logits()) target.mask_and_weight(a, first_class, classes);
      if constexpr (F::arity == 2) reader.q.probabilities(y, b);
      with_kind(operand.kind(),
                [&]<Kind kind>() { gradient_of_classes<kind, by_q>(f, a, b, total, gradient); });
      if (is_dynamic && !by_q && !operand.is_logits()) target.vjp(gradient, first_class, classes);
#pragma unroll
      for (int k = 0; k < n; ++k) gradient[k] *= scale;
      if (is_dynamic && r.g_per_class)
#pragma unroll
        for (int k = 0; k < n; ++k)
          if (classes.has(k)) gradient[k] *= g.element(classes[k]);
      store(classes, gradient);
    };
    for_each_pack<Caching::kNone, 1>(group, reader, store_gradients);
  });
}

}  // namespace
}  // namespace torch_infotheory
