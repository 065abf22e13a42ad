// reduce.cuh -- from the numbers of a row to its value and its totals, for every formula.
//
// As on the CPU: linear formulas read a row once, as moments relative to a moving reference; others
// read it again for the terms. Knows sources and the names score, term, d_lq; must not know any
// formula by name, or tensors. Read next: rows.cuh.
#pragma once
#include "cuda/target.cuh"
#include "cuda/walk.cuh"

namespace torch_infotheory {
namespace {

template <class A>
constexpr A kLargest = sizeof(A) == sizeof(float) ? A(FLT_MAX) : A(DBL_MAX);

// From -largest a move would overflow; beyond this bound e^move is 0 anyway.
template <class A>
__device__ __forceinline__ A moved(A from, A to) {
  return Maximum()(-kLargest<A> / 4, from - to);
}

// ---- one reading ----
// The moments of the classes that a thread has read.
template <class A>
struct ThreadMoments : Moments<A> {
  using Moments<A>::high_p, Moments<A>::high_q, Moments<A>::p, Moments<A>::q, Moments<A>::value;

  __device__ __forceinline__ ThreadMoments(bool p_logits, bool q_logits)
      : Moments<A>{0, 0, 0, p_logits ? -kLargest<A> : A(0), q_logits ? -kLargest<A> : A(0)} {}
  __device__ __forceinline__ explicit ThreadMoments(const PartOfRow& x)
      : Moments<A>{A(x.p), A(x.q), A(x.value), A(x.high_p), A(x.high_q)} {}

  template <class F, bool values>
  __device__ __forceinline__ void move_to(A top_p, A top_q) {
    shift<F, values>(*this, moved(high_p, top_p), moved(high_q, top_q));
    high_p = top_p;
    high_q = top_q;
  }
  template <class F>
  __device__ __forceinline__ void take(ThreadMoments x) {
    const A top_p = Maximum()(high_p, x.high_p), top_q = Maximum()(high_q, x.high_q);
    move_to<F, F::linear>(top_p, top_q);
    x.template move_to<F, F::linear>(top_p, top_q);
    p += x.p;
    q += x.q;
    value += x.value;
  }
};

template <int n, class A>
__device__ __forceinline__ A raise(A& high, const A (&x)[n]) {
  A top = high;
#pragma unroll
  for (int k = 0; k < n; ++k) top = Maximum()(top, x[k]);
  const A by = moved(high, top);
  high = top;
  return by;
}

// The mass of one operand that is stated by logits.
template <int n, class A>
__device__ __forceinline__ void add_mass(A& high, A& mass, const A (&x)[n]) {
  mass *= exp(raise(high, x));
  A sum = 0;
#pragma unroll
  for (int k = 0; k < n; ++k) sum += exp(x[k] - high);
  mass += sum;
}

// The moments of n classes. `first`: of the part.
template <class F, class Both, class At, int n, class A = typename Both::Number>
__device__ __forceinline__ void add(ThreadMoments<A>& m, Both& rows, const Target<A>& target,
                                    int64_t first, const At& at, const A (&x)[n], const A (&y)[n]) {
  constexpr bool two = F::arity == 2;
  A dp = 0, dq = 0;
  if (rows.p.is_logits()) dp = raise(m.high_p, x);
  if (two && rows.q.is_logits()) dq = raise(m.high_q, y);
  if (rows.p.is_logits() || (two && rows.q.is_logits())) shift<F, true>(m, dp, dq);
  Prob<A> a[n], b[n];
  rows.p.high = m.high_p;
  rows.p.probabilities(x, a);
  if (!rows.p.is_logits()) target.apply(a, first, at);
  if constexpr (two) {
    rows.q.high = m.high_q;
    rows.q.probabilities(y, b);
  }
  A p = 0, q = 0, value = 0;
#pragma unroll
  for (int k = 0; k < n; ++k) {
    p += a[k].p;
    if constexpr (two) q += b[k].p;
    value += F::term(a[k], two ? b[k] : a[k]);
  }
  m.p += p;
  m.q += q;
  m.value += value;
}

// The moments of the team's threads become those of all of them.
template <class F, bool values, bool p_is_read, class A>
__device__ __forceinline__ void combine(const Team& team, ThreadMoments<A>& m) {
  constexpr bool two = F::arity == 2;
  A tops[] = {two ? m.high_q : m.high_p, m.high_p};
  combine<two && p_is_read ? 2 : 1>(team, tops, Maximum());
  m.template move_to<F, values>(two ? tops[1] : tops[0], two ? tops[0] : m.high_q);
  A sums[] = {two ? m.q : m.p, two ? m.p : m.value, m.value};
  combine<(two ? 1 : 0) + (p_is_read ? 1 : 0) + (values ? 1 : 0)>(team, sums, Sum());
  if (two) {
    m.q = sums[0];
    if (p_is_read) m.p = sums[1];
    if (values) m.value = sums[2];
  } else {
    m.p = sums[0];
    if (values) m.value = sums[1];
  }
}

// ---- the second reading ----
template <class A>
struct Sums {
  A p = 0, q = 0, value = 0, d_lp = 0, d_lq = 0;
  Sums() = default;
  __device__ __forceinline__ explicit Sums(const PartOfRow& x)
      : p(x.p), q(x.q), value(x.value), d_lp(x.d_lp), d_lq(x.d_lq) {}
  __device__ __forceinline__ void take(const Sums& x) {
    p += x.p;
    q += x.q;
    value += x.value;
    d_lp += x.d_lp;
    d_lq += x.d_lq;
  }
  template <class F, bool masses>
  __device__ __forceinline__ void add(Prob<A> a, Prob<A> b) {
    if constexpr (masses) p += a.p, q += b.p;
    value += F::term(a, b);
    d_lp += torch_infotheory::d_lp<F>(a, b);
    d_lq += F::d_lq(a, b);
  }
};

// `masses`: unless both are logits, whose masses are 1.
template <class F, bool masses, class Both, int n, class A = typename Both::Number>
__device__ __forceinline__ void add_terms(Sums<A>& s, const Both& rows, const A (&x)[n],
                                          const A (&y)[n]) {
  Prob<A> a[n], b[n];
  rows.p.probabilities(x, a);
  rows.q.probabilities(y, b);
  Sums<A> t;
#pragma unroll
  for (int k = 0; k < n; ++k) t.template add<F, masses>(a[k], b[k]);
  s.take(t);
}
template <class A>
__device__ __forceinline__ void combine(const Team& team, Sums<A>& s) {
  A all[] = {s.p, s.q, s.value, s.d_lp, s.d_lq};
  combine<5>(team, all, Sum());
  s.p = all[0], s.q = all[1], s.value = all[2], s.d_lp = all[3], s.d_lq = all[4];
}

// ---- outcomes ----
// Of a row, in double.
template <class F, class A>
__device__ __forceinline__ Outcome<double> outcome_of(const Rows& r, const Moments<A>& m) {
  return outcome<F>(Moments<double>{m.p, m.q, m.value, m.high_p, m.high_q}, r.p.kind == kLogits,
                    r.q.kind == kLogits);
}
// Given the sums of its terms too. `out` has the normalizers.
template <class A>
__device__ __forceinline__ void add_terms(Outcome<double>& out, const Rows& r, const Sums<A>& s) {
  out.mass_p = r.p.kind == kLogits ? 1 : double(s.p);
  out.mass_q = r.q.kind == kLogits ? 1 : double(s.q);
  out.d_lp = s.d_lp;
  out.d_lq = s.d_lq;
  out.value = with_nan<double>(s.value, s.p, s.q);
}

}  // namespace
}  // namespace torch_infotheory
