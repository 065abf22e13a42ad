// divergences.h -- the quantities of two distributions that are no expectations of a linear score.
#pragma once
#include "core/formula.h"

namespace torch_infotheory {
namespace {

// A divergence that sums a term of its own for each class, none below 0.
struct SumOfTerms {
  static constexpr int arity = 2, class_dims = 1;
  static constexpr bool linear = false, divergence = true, fused = false, has_unit = false;
};

// JS(p, q) = (1 - w) D(p || m) + w D(q || m) with m = (1 - w) p + w q; w = 1/2 is the divergence
// with equal weights.
// Lin (1991), Divergence Measures Based on the Shannon Entropy.
struct JsDivergence : SumOfTerms {
  static constexpr const char* name = "js_divergence";
  // The weights, and what they are relative to the larger.
  Coefficient weight_p, weight_q, relative_p, relative_q;
  Coefficient log_larger, log_smaller;
  bool is_equal, q_is_larger;
  bool is_zero;  // in the limit where the mixture is one of the two, the divergence is 0
  TI_LANE explicit JsDivergence(double weight) : JsDivergence(1 - weight, weight) {}
  // log m. The weights are relative to the larger one, so that half of the least positive p does
  // not round to 0.
  template <class V>
  TI_LANE V log_mixture(Prob<V> p, Prob<V> q) const {
    if (is_equal) return log(p.p + q.p) + V(log_larger);
    const V lm = log(V(relative_p) * p.p + V(relative_q) * q.p) + V(log_larger);
    // Where the sum is below the smallest normal number, only the operand of the lower weight is
    // not 0.
    return select(lm < V(-1e30f), (q_is_larger ? p.log : q.log) + V(log_smaller), lm);
  }
  template <class V>
  TI_LANE Terms<V> terms(Prob<V> p, Prob<V> q) const {
    if (is_zero) return {V(0) * (p.p + q.p), V(0) * p.p, V(0) * q.p};
    const V lm = log_mixture(p, q), by_p = times0(p.p, V(weight_p) * (p.log - lm)),
            by_q = times0(q.p, V(weight_q) * (q.log - lm));
    return {by_p + by_q, by_p, by_q};
  }
  template <class V>
  TI_LANE V term(Prob<V> p, Prob<V> q) const {
    return terms(p, q).value;
  }
  template <class V>
  TI_LANE V d_lq(Prob<V> p, Prob<V> q) const {
    return terms(p, q).d_lq;
  }
  template <class V>
  TI_LANE V slope_p(Prob<V> p, Prob<V> q) const {
    return is_zero ? V(0) * p.p : V(weight_p) * (p.log - log_mixture(p, q));
  }
  // With equal weights, term = m (entropy gap of t), t = (p - q) / (p + q). With others, the terms
  // of p and q relative to m are (1 + x) log(1 + x) - x >= 0 each: their sum over the classes is
  // the same. Either way without the cancellation of the term.
  template <class V>
  TI_LANE V centered(Prob<V> p, Prob<V> q) const {
    if (is_zero) return V(0) * (p.p + q.p);
    if (is_equal) {
      const V total = p.p + q.p, t = over0(p.p - q.p, total);
      return near_or_far(t, 0.25, V(0.5) * total * entropy_gap(t), term(p, q));
    }
    return relative_to(V(weight_p) * p.p + V(weight_q) * q.p, p.p - q.p);
  }
  template <class V>
  TI_LANE V near(Near<V> x) const {
    if (!is_equal) return relative_to(x.p - V(weight_q) * x.difference, x.difference);
    const V total = x.p + (x.p - x.difference);
    return V(0.5) * total * entropy_gap(over0(x.difference, total));
  }
  TI_LANE double curvature() const { return weight_p * weight_q; }

 private:
  TI_LANE JsDivergence(double p, double q)
      : weight_p(p),
        weight_q(q),
        relative_p(p / (p > q ? p : q)),
        relative_q(q / (p > q ? p : q)),
        log_larger(::log(p > q ? p : q)),
        log_smaller(::log(p > q ? q : p)),
        is_equal(p == q),
        q_is_larger(q > p),
        is_zero(p == 0 || q == 0) {}
  // With other weights, from the mixture and p - q.
  template <class V>
  TI_LANE V relative_to(V mixture, V difference) const {
    const V t = over0(difference, mixture);
    return mixture *
           (V(weight_p) * excess(V(weight_q) * t) + V(weight_q) * excess(-(V(weight_p) * t)));
  }
  // (1 + x) log(1 + x) - x >= 0, for x >= -1.
  template <class V>
  TI_LANE static V excess(V x) {
    V sum = V(0);  // x^2 / 2 - x^3 / 6 + x^4 / 12 - ...
    for (int k = has_float_lanes<V> ? 12 : 30; k > 1; --k) sum = V(1.0 / (k * (k - 1))) - sum * x;
    const V one = select(x < V(-1), V(0), V(1) + x),  // below by rounding only
        far = times0(one, log(one)) - x;
    return near_or_far(x, 0.25, sum * x * x, far);
  }
};

// D(p || q) + D(q || p) = sum (p - q) log(p / q).
// Jeffreys (1946), An Invariant Form for the Prior Probability in Estimation Problems.
struct JeffreysDivergence : SumOfTerms {
  static constexpr const char* name = "jeffreys_divergence";
  static constexpr bool has_unit = true;
  template <class V>
  TI_LANE static V term(Prob<V> p, Prob<V> q) {
    return times0(p.p - q.p, p.log - q.log);
  }
  template <class V>
  TI_LANE static V slope_p(Prob<V> p, Prob<V> q) {
    return (p.log - q.log) + (V(1) - over0(q.p, p.p));
  }
  template <class V>
  TI_LANE static V d_lp(Prob<V> p, Prob<V> q) {
    return times0(p.p, p.log - q.log) + (p.p - q.p);
  }
  template <class V>
  TI_LANE static V d_lq(Prob<V> p, Prob<V> q) {
    return d_lp(q, p);
  }
  template <class V>
  TI_LANE static V centered(Prob<V> p, Prob<V> q) {
    return term(p, q);
  }
  template <class V>
  TI_LANE static V near(Near<V> x) {
    return x.difference * x.log_ratio;
  }
  TI_LANE static double curvature() { return 2; }
};

// sum |p - q| / 2.
struct TotalVariation : SumOfTerms {
  static constexpr const char* name = "total_variation_distance";
  static constexpr bool divergence = false;  // of first order in p - q: nothing cancels
  template <class V>
  TI_LANE static V term(Prob<V> p, Prob<V> q) {
    return (p.p - q.p) * slope_p(p, q);
  }
  template <class V>
  TI_LANE static V slope_p(Prob<V> p, Prob<V> q) {
    const V d = p.p - q.p;
    return select(d == V(0), V(0), select(d < V(0), V(-0.5), V(0.5)));
  }
  template <class V>
  TI_LANE static V d_lq(Prob<V> p, Prob<V> q) {
    return q.p * slope_p(q, p);
  }
  template <class V>
  TI_LANE static V slope_q_at_0(V p, V) {
    return select(p == V(0), V(0), V(-0.5) + V(0) * p);
  }
};

// sum sqrt(p q).
// Bhattacharyya (1943), On a Measure of Divergence between Two Statistical Populations.
struct BhattacharyyaCoefficient : SumOfTerms {
  static constexpr const char* name = "bhattacharyya_coefficient";
  static constexpr bool divergence = false;
  template <class V>
  TI_LANE static V term(Prob<V> p, Prob<V> q) {
    return accurate_exp(V(0.5) * (p.log + q.log));
  }
  template <class V>
  TI_LANE static V slope_p(Prob<V> p, Prob<V> q) {
    return V(0.5) * accurate_exp(V(0.5) * (q.log - p.log));
  }
  template <class V>
  TI_LANE static V d_lp(Prob<V> p, Prob<V> q) {
    return V(0.5) * term(p, q);
  }
  template <class V>
  TI_LANE static V d_lq(Prob<V> p, Prob<V> q) {
    return V(0.5) * term(p, q);
  }
  template <class V>
  TI_LANE static Totals<V> totals(V value, V, V) {
    return {V(0.5) * value, V(0.5) * value};
  }
};

}  // namespace
}  // namespace torch_infotheory
