// reduce.cuh -- reduces the classes of a row to its sums and these to its value, for every formula.
//
// As on the CPU, a linear formula reads a row once and accumulates moments relative to a running
// maximum; other formulas read the row again for their terms.
#pragma once
#include "cuda/operand.cuh"
#include "cuda/target.cuh"

namespace torch_infotheory {
namespace {

template <class A>
constexpr A kLargest = sizeof(A) == sizeof(float) ? A(FLT_MAX) : A(DBL_MAX);

// How much x - reference changes when the reference does. Bounded, because from -kLargest the
// difference would overflow; beyond the bound e^shift is 0 anyway.
template <class A>
__device__ __forceinline__ A bounded_shift(A from, A to) {
  return Maximum()(-kLargest<A> / 4, from - to);
}

// ---- first reading: moments ----
// The moments of the classes that a thread has read.
template <class A>
struct ThreadMoments : Moments<A> {
  using Moments<A>::high_p, Moments<A>::high_q, Moments<A>::p, Moments<A>::q, Moments<A>::value;

  __device__ __forceinline__ ThreadMoments(bool p_logits, bool q_logits)
      : Moments<A>{0, 0, 0, p_logits ? -kLargest<A> : A(0), q_logits ? -kLargest<A> : A(0)} {}
  __device__ __forceinline__ explicit ThreadMoments(const PartOfRow& x)
      : Moments<A>{A(x.p), A(x.q), A(x.value), A(x.high_p), A(x.high_q)} {}

  template <class F, bool values>
  __device__ __forceinline__ void set_references(A new_p, A new_q) {
    shift<F, values>(*this, bounded_shift(high_p, new_p), bounded_shift(high_q, new_q));
    high_p = new_p;
    high_q = new_q;
  }
  template <class F>
  __device__ __forceinline__ void merge(ThreadMoments x) {
    const A max_p = Maximum()(high_p, x.high_p), max_q = Maximum()(high_q, x.high_q);
    set_references<F, F::linear>(max_p, max_q);
    x.template set_references<F, F::linear>(max_p, max_q);
    p += x.p;
    q += x.q;
    value += x.value;
  }
};

// Includes x in the running maximum and returns the shift of the reference.
template <int n, class A>
__device__ __forceinline__ A update_max(A& max, const A (&x)[n]) {
  A new_max = max;
#pragma unroll
  for (int k = 0; k < n; ++k) new_max = Maximum()(new_max, x[k]);
  const A shift = bounded_shift(max, new_max);
  max = new_max;
  return shift;
}

// sum = sum e^(x - max) of all logits so far.
template <int n, class A>
__device__ __forceinline__ void add_exp(A& max, A& sum, const A (&x)[n]) {
  sum *= exp(update_max(max, x));
  A pack_sum = 0;
#pragma unroll
  for (int k = 0; k < n; ++k) pack_sum += exp(x[k] - max);
  sum += pack_sum;
}

// Adds the moments of n classes; `first_class` is that of the segment.
template <class F, class Reader, class Classes, int n, class A = typename Reader::Number>
__device__ __forceinline__ void add_moments(ThreadMoments<A>& m, Reader& reader,
                                            const Target<A>& target, int64_t first_class,
                                            const Classes& classes, const A (&x)[n],
                                            const A (&y)[n]) {
  constexpr bool has_q = F::arity == 2;
  A shift_p = 0, shift_q = 0;
  if (reader.p.is_logits()) shift_p = update_max(m.high_p, x);
  if (has_q && reader.q.is_logits()) shift_q = update_max(m.high_q, y);
  if (reader.p.is_logits() || (has_q && reader.q.is_logits())) shift<F, true>(m, shift_p, shift_q);
  Prob<A> a[n], b[n];
  reader.p.reference = m.high_p;
  reader.p.probabilities(x, a);
  if (!reader.p.is_logits()) target.mask_and_weight(a, first_class, classes);
  if constexpr (has_q) {
    reader.q.reference = m.high_q;
    reader.q.probabilities(y, b);
  }
  A p = 0, q = 0, value = 0;
#pragma unroll
  for (int k = 0; k < n; ++k) {
    p += a[k].p;
    if constexpr (has_q) q += b[k].p;
    value += F::term(a[k], has_q ? b[k] : a[k]);
  }
  m.p += p;
  m.q += q;
  m.value += value;
}

template <class F, bool values, bool p_is_read, class A>
__device__ __forceinline__ void all_reduce(const ThreadGroup& group, ThreadMoments<A>& m) {
  constexpr bool has_q = F::arity == 2;
  A max[] = {has_q ? m.high_q : m.high_p, m.high_p};
  all_reduce<has_q && p_is_read ? 2 : 1>(group, max, Maximum());
  m.template set_references<F, values>(has_q ? max[1] : max[0], has_q ? max[0] : m.high_q);
  A sums[] = {has_q ? m.q : m.p, has_q ? m.p : m.value, m.value};
  all_reduce<(has_q ? 1 : 0) + (p_is_read ? 1 : 0) + (values ? 1 : 0)>(group, sums, Sum());
  if (has_q) {
    m.q = sums[0];
    if (p_is_read) m.p = sums[1];
    if (values) m.value = sums[2];
  } else {
    m.p = sums[0];
    if (values) m.value = sums[1];
  }
}

// ---- second reading: terms ----
template <class A>
struct TermSums {
  A p = 0, q = 0, value = 0, d_lp = 0, d_lq = 0;
  TermSums() = default;
  __device__ __forceinline__ explicit TermSums(const PartOfRow& x)
      : p(x.p), q(x.q), value(x.value), d_lp(x.d_lp), d_lq(x.d_lq) {}
  __device__ __forceinline__ void merge(const TermSums& x) {
    p += x.p;
    q += x.q;
    value += x.value;
    d_lp += x.d_lp;
    d_lq += x.d_lq;
  }
  template <bool sum_probs, class F>
  __device__ __forceinline__ void add(const F& f, Prob<A> a, Prob<A> b) {
    if constexpr (sum_probs) p += a.p;
    if constexpr (sum_probs && F::arity == 2) q += b.p;
    const Terms<A> x = terms(f, a, b);
    value += x.value;
    if constexpr (states_totals<F>) return;
    d_lp += x.d_lp;
    if constexpr (F::arity == 2) d_lq += x.d_lq;
  }
};

// Without `sum_probs` both operands are logits, whose probabilities sum to 1.
template <bool sum_probs, class F, class Reader, int n, class A = typename Reader::Number>
__device__ __forceinline__ void add_terms(const F& f, TermSums<A>& sums, const Reader& reader,
                                          const A (&x)[n], const A (&y)[n]) {
  constexpr bool has_q = F::arity == 2;
  Prob<A> a[n], b[n];
  reader.p.probabilities(x, a);
  if constexpr (has_q) reader.q.probabilities(y, b);
  TermSums<A> pack_sums;
#pragma unroll
  for (int k = 0; k < n; ++k) pack_sums.template add<sum_probs>(f, a[k], has_q ? b[k] : a[k]);
  sums.merge(pack_sums);
}
template <class A>
__device__ __forceinline__ void all_reduce(const ThreadGroup& group, TermSums<A>& s) {
  A sums[] = {s.p, s.q, s.value, s.d_lp, s.d_lq};
  all_reduce<5>(group, sums, Sum());
  s.p = sums[0], s.q = sums[1], s.value = sums[2], s.d_lp = sums[3], s.d_lq = sums[4];
}

// Of a logarithm of a sum: its terms, relative to the maximum of their exponents.
template <class A>
struct ExponentSums {
  A p = 0, q = 0, value = 0, high = -kLargest<A>;
  ExponentSums() = default;
  __device__ __forceinline__ explicit ExponentSums(const PartOfRow& x)
      : p(x.p), q(x.q), value(x.value), high(x.d_lp) {}
  __device__ __forceinline__ void set_reference(A new_high) {
    value *= accurate_exp(bounded_shift(high, new_high));
    high = new_high;
  }
  __device__ __forceinline__ void merge(ExponentSums x) {
    const A max = Maximum()(high, x.high);
    set_reference(max);
    x.set_reference(max);
    p += x.p;
    q += x.q;
    value += x.value;
  }
};
template <bool sum_probs, class F, class Reader, int n, class A = typename Reader::Number>
__device__ __forceinline__ void add_terms(const F& f, ExponentSums<A>& sums, const Reader& reader,
                                          const A (&x)[n], const A (&y)[n]) {
  constexpr bool has_q = F::arity == 2;
  Prob<A> a[n], b[n];
  reader.p.probabilities(x, a);
  if constexpr (has_q) reader.q.probabilities(y, b);
  A exponents[n], max = sums.high;
#pragma unroll
  for (int k = 0; k < n; ++k) {
    if constexpr (sum_probs) sums.p += a[k].p;
    if constexpr (sum_probs && has_q) sums.q += b[k].p;
    exponents[k] = f.exponent(a[k], has_q ? b[k] : a[k]);
    max = Maximum()(max, exponents[k]);
  }
  // An infinite exponent is not a reference.
  sums.set_reference(max < kLargest<A> ? max : kLargest<A>);
#pragma unroll
  for (int k = 0; k < n; ++k) sums.value += exp(exponents[k] - sums.high);
}
template <class A>
__device__ __forceinline__ void all_reduce(const ThreadGroup& group, ExponentSums<A>& s) {
  A max[] = {s.high};
  all_reduce<1>(group, max, Maximum());
  s.set_reference(max[0]);
  A sums[] = {s.p, s.q, s.value};
  all_reduce<3>(group, sums, Sum());
  s.p = sums[0], s.q = sums[1], s.value = sums[2];
}
template <class F, class A>
using SumsOfTerms = std::conditional_t<is_log_sum<F>, ExponentSums<A>, TermSums<A>>;

// ---- from sums to the outcome of a row, in double ----
template <class F, class A>
__device__ __forceinline__ Outcome<double> outcome_of(const Rows& r, const Moments<A>& m) {
  return outcome<F>(Moments<double>{m.p, m.q, m.value, m.high_p, m.high_q}, r.p.kind == kLogits,
                    r.q.kind == kLogits);
}
// Completes an outcome that has only the normalizers.
template <class F, class Sums>
__device__ __forceinline__ void set_sums(Outcome<double>& out, const Rows& r, const Sums& s) {
  out.p_sum = r.p.kind == kLogits ? 1 : double(s.p);
  out.q_sum = r.q.kind == kLogits ? 1 : double(s.q);
  double value = s.value;
  if constexpr (is_log_sum<F>) {
    out.d_lp = out.d_lq = double(s.high) + log(value);
    const double log_total = log(out.p_sum);
    value = formula<F>(r.parameter).value(out.d_lp, log_total);
    // Logits are normalized; for others the total takes the place of the normalizer.
    if (r.p.kind != kLogits) out.log_p = log_total;
  } else if constexpr (states_totals<F>) {
    const Totals<double> totals =
        formula<F>(r.parameter).totals(value, double(out.p_sum), double(out.q_sum));
    out.d_lp = totals.d_lp;
    out.d_lq = totals.d_lq;
  } else {
    out.d_lp = s.d_lp;
    out.d_lq = s.d_lq;
  }
  out.value = with_nan<double>(value, s.p, s.q);
}

}  // namespace
}  // namespace torch_infotheory
