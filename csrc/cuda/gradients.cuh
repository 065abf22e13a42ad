// gradients.cuh -- the kernels that write one number for each class: gradients, and terms.
//
// With the totals that forward has kept every class has its derivative by itself: one reading, one
// writing, no barrier. Knows sources and the names of a formula's parts; must not know any formula
// by name, or tensors. Read next: sums.cuh.
#pragma once
#include "cuda/labels.cuh"

namespace torch_infotheory {
namespace {

// One number for each class of a part, to be written or, as g, to be read.
template <int n_>
struct Sheet {
  static constexpr int n = n_;
  char* data;
  int64_t stride;
  Type type;

  __device__ __forceinline__ Sheet(const Operand& x, int64_t offset, int64_t first, Type type)
      : stride(x.class_stride), type(type) {
    data =
        static_cast<char*>(const_cast<void*>(x.data)) + (offset + first * stride) * size_of(type);
  }
  __device__ __forceinline__ int misaligned() const {
    const int size = int(size_of(type));
    return stride == 1 ? int(reinterpret_cast<uintptr_t>(data) & (n * size - 1)) / size : -1;
  }
  template <class A>
  __device__ __forceinline__ void write(const Whole<n>& at, const A (&x)[n]) const {
    const int size = int(size_of(type));
    store_pack(data + int64_t(at.first) * size, n * size, narrowed(type, x));
  }
  template <class A>
  __device__ __forceinline__ void write(const Ragged<n>& at, const A (&x)[n]) const {
#pragma unroll
    for (int k = 0; k < n; ++k)
      if (at.has(k)) store_one(data, type, at[k] * stride, x[k]);
  }
  template <class At, class A>
  __device__ __forceinline__ void multiply(const At& at, A (&x)[n]) const {
#pragma unroll
    for (int k = 0; k < n; ++k)
      if (at.has(k)) x[k] *= load_one<A>(data, type, at[k] * stride);
  }
};

// Elementwise quantities: the terms themselves.
template <class F, class A>
__global__ void __launch_bounds__(kMostThreads, sizeof(A) == 8 ? 1 : 2)
    write_terms(const __grid_constant__ DeviceRows d) {
  using Both = Pair<A, kAny, kAny, kAny, F::arity == 2>;
  constexpr int n = Both::n;
  const Team team(d.geometry.lanes);
  team.each(d.rows.rows * d.geometry.parts, [&](int64_t unit, bool there) {
    const Part part = part_of(d, unit, there);
    Both rows(d.rows.p, d.rows.q, part);
    const Sheet<n> to(d.rows.value, part.at.of[DeviceRows::kValue], part.first, d.rows.value.type);
    if (to.misaligned() != rows.p.misaligned()) rows.split = {part.classes, 0, 0};
    const A scale(d.rows.scale);
    sweep<Parking::kNone, 1>(team, rows, [&](const auto& at, const auto& x, const auto& y) {
      Prob<A> a[n], b[n];
      A term[n];
      rows.p.probabilities(x, a);
      rows.q.probabilities(y, b);
#pragma unroll
      for (int k = 0; k < n; ++k) {
        const Prob<A> y = F::arity == 2 ? b[k] : a[k];
        term[k] = with_nan(F::term(a[k], y) * scale, a[k].p, y.p);
      }
      to.write(at, term);
    });
  });
}

template <bool second, class P, class Q>
__device__ __forceinline__ const auto& pick(const P& p, const Q& q) {
  if constexpr (second)
    return q;
  else
    return p;
}

// d / d x of n classes, by the kind of x.
template <class F, Kind kind, bool by_q, int n, class A>
__device__ __forceinline__ void chain(const Prob<A> (&a)[n], const Prob<A> (&b)[n], A total,
                                      A (&to)[n]) {
#pragma unroll
  for (int k = 0; k < n; ++k) {
    if constexpr (by_q)
      to[k] = gradient_by_q<F, kind>(a[k], b[k], total);
    else
      to[k] = gradient_by_p<F, kind>(a[k], F::arity == 2 ? b[k] : a[k], total);
  }
}

// Reads nothing: for rows of which at most the label's class has a gradient.
template <class A, int n_>
struct Blank {
  static constexpr int n = n_;
  using Number = A;
  struct Packs {};
  Split split;
  template <Parking>
  __device__ __forceinline__ Packs load(int) const {
    return {};
  }
  __device__ __forceinline__ void widen(Packs, A (&)[n], A (&)[n]) const {}
  __device__ __forceinline__ void one(int, A&, A&) const {}
};

// What class c of a part that begins with class `first` has for a gradient by q where it is the
// row's label.
template <class F, class A, class Q>
__device__ __forceinline__ A gradient_at_label(const Q& q, const Target<A>& target, int64_t first,
                                               int c, A total) {
  const A x = q.one(c), log_q = q.is_logits() ? (x - q.high) - q.low : x;
  const A of_class = A(target.smoothing.kept + target.smoothing.spread);
  const Prob<A> p{target.weight_of(first + c) * of_class, 0}, at_label{exp(log_q), log_q};
  return q.is_logits() ? gradient_by_q<F, kLogits>(p, at_label, total)
                       : gradient_by_q<F, kLogProbs>(p, at_label, total);
}

template <class F, class A, int type, int p_kind, int q_kind, bool by_q>
__global__ void __launch_bounds__(kMostThreads, sizeof(A) == 8 ? 1
                                                : type == kAny ? 2
                                                               : 3)
    backward_rows(const __grid_constant__ DeviceRows d) {
  using Both = Pair<A, type, p_kind, q_kind, F::arity == 2>;
  constexpr int n = Both::n;
  constexpr bool any = type == kAny, may_have_label = by_q && (p_kind == kAny || p_kind == kLabels);
  const Team team(d.geometry.lanes);
  const Target<A> target(d.rows);
  const Rows& r = d.rows;
  const double unit_of_g = d.divisor ? r.scale / *d.divisor : r.scale;
  team.each(r.rows * d.geometry.parts, [&](int64_t unit, bool there) {
    if (!there) return;
    const Part part = part_of(d, unit, there);
    Both rows(d.rows.p, d.rows.q, part);
    const auto& by = pick<by_q>(rows.p, rows.q);
    const Sheet<n> to(r.gradient, part.at.of[DeviceRows::kGradient], part.first, by.type());
    if (to.misaligned() != by.misaligned()) rows.split = {part.classes, 0, 0};
    const Sheet<n> g(r.g, part.at.of[DeviceRows::kG], part.first, r.g.type);
    rows.p.normalise(r.saved_at(0, kHigh, part.row), r.saved_at(0, kLogSum, part.row));
    if (F::arity == 2)
      rows.q.normalise(r.saved_at(1, kHigh, part.row), r.saved_at(1, kLogSum, part.row));
    const A total(r.saved_at(by_q, kTotal, part.row));
    const double g_of_row =
        r.g_per_class ? 1 : load_one<double>(r.g.data, r.g.type, part.at.of[DeviceRows::kG]);
    const A scale(unit_of_g * g_of_row);
    int label_here = kNoClass;  // among those of this part
    const auto write = [&](const auto& at, auto& gradient) {
      if (may_have_label && at.holds(label_here)) {
        const A peak = scale * gradient_at_label<F>(rows.q, target, part.first, label_here, total);
#pragma unroll
        for (int k = 0; k < n; ++k)
          if (at[k] == label_here) gradient[k] = peak;
      }
      to.write(at, gradient);
    };
    if constexpr (may_have_label) {
      const Label label(r, part.at, there);
      device::device_check(!label.bad);
      const int64_t here = label.label - part.first;
      if (label.has_peak() && here >= 0 && here < part.classes) label_here = int(here);
      if (!label.counts || r.picks()) {
        const Blank<A, n> nothing{Split::of<n>(part.classes, to.misaligned())};
        return sweep<Parking::kNone, 1>(team, nothing,
                                        [&](const auto& at, const auto&, const auto&) {
                                          A gradient[n] = {};
                                          write(at, gradient);
                                        });
      }
    }
    sweep<Parking::kNone, 1>(team, rows, [&](const auto& at, const auto& x, const auto& y) {
      Prob<A> a[n], b[n];
      A gradient[n];
      rows.p.probabilities(x, a);
      if (any && !rows.p.is_logits()) target.apply(a, part.first, at);
      if constexpr (F::arity == 2) rows.q.probabilities(y, b);
      if (by.is_logits())
        chain<F, kLogits, by_q>(a, b, total, gradient);
      else if (by.kind() == kLogProbs)
        chain<F, kLogProbs, by_q>(a, b, total, gradient);
      else
        chain<F, kProbs, by_q>(a, b, total, gradient);
      if (any && !by_q && !by.is_logits()) target.chain(gradient, part.first, at);
#pragma unroll
      for (int k = 0; k < n; ++k) gradient[k] *= scale;
      if (any && r.g_per_class) g.multiply(at, gradient);
      write(at, gradient);
    });
  });
}

}  // namespace
}  // namespace torch_infotheory
