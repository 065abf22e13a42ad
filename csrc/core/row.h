// row.h -- the algebra of a row: what is summed over its classes, how the sums change with their
// references, and the results that follow from them.
//
// The same on every device. V is a number or a pack; all functions work lane by lane.
#pragma once
#include "core/formulas.h"

namespace torch_infotheory {
namespace {

// Sums over the classes of a row. Of logits x, `p` and `q` sum e^(x - high), where the reference
// `high` may be below the maximum, but not so far that a sum overflows; of other kinds they sum the
// probabilities, and `high` is 0. `value` sums the terms of a linear formula at these numbers.
template <class V>
struct Moments {
  V p, q, value, high_p, high_q;
};

// A sum of linear terms after every log p increased by dp and every log q by dq: by_p = e^dp, score
// = score(dp, dq).
template <class V>
TI_LANE V shifted(V value, V p, V by_p, V score) {
  return times0(by_p, value + p * score);
}
// The sums after the references of p and q moved: dp and dq are the old ones less the new ones. The
// caller updates `high_p` and `high_q`.
template <class F, bool values = F::linear, class V>
TI_LANE void shift(Moments<V>& s, V dp, V dq) {
  const V by_p = exp(dp);
  if constexpr (values) s.value = shifted(s.value, s.p, by_p, F::score(dp, dq));
  s.p = s.p * by_p;
  s.q = s.q * exp(dq);
}

// A NaN in a probability is propagated even where its factor is 0.
template <class V>
TI_LANE V with_nan(V value, V p, V q) {
  return select(p + q == p + q, value, V(NAN));
}

// The log-normalizer of an operand is high + log, kept in two parts because their sum rounds where
// the logits lie far from 0. Both are 0 where nothing is normalized.
template <class V>
struct Outcome {
  V value;
  V high_p, log_p, high_q, log_q;  // the references, and the logarithms of the sums
  V d_lp, d_lq;                    // the row's totals of d term / d log p and d term / d log q
  V p_sum, q_sum;                  // sums of the probabilities that were read; 1 for logits
};
// Sets the value and the totals of linear formulas only; for others they are 0 until a second pass
// computes them.
template <class F, class V>
TI_LANE Outcome<V> outcome(const Moments<V>& s, bool p_logits, bool q_logits) {
  Outcome<V> out;
  out.high_p = s.high_p;
  out.high_q = s.high_q;
  out.log_p = p_logits ? log(s.p) : V(0);
  out.log_q = q_logits ? log(s.q) : V(0);
  out.p_sum = p_logits ? V(1) : s.p;
  out.q_sum = q_logits ? V(1) : s.q;
  out.value = out.d_lp = out.d_lq = V(0);
  if constexpr (F::linear) {
    const V sum = s.value + times0(s.p, F::score(-out.log_p, -out.log_q)),
            value = p_logits ? sum / s.p : sum;
    out.value = with_nan(value, s.p, s.q);
    const Totals<V> totals = F::totals(value, out.p_sum, out.q_sum);
    out.d_lp = totals.d_lp, out.d_lq = totals.d_lq;
  }
  return out;
}

}  // namespace
}  // namespace torch_infotheory
