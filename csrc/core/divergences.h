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
  double weight_p, weight_q, larger, log_larger, log_smaller;  // the weights of p and q
  TI_LANE explicit JsDivergence(double weight)
      : weight_p(1 - weight),
        weight_q(weight),
        larger(weight_p > weight_q ? weight_p : weight_q),
        log_larger(::log(larger)),
        log_smaller(::log(weight_p > weight_q ? weight_q : weight_p)) {}
  // log m. The weights are relative to the larger one, so that half of the least positive p does
  // not round to 0.
  template <class V>
  TI_LANE V log_mixture(Prob<V> p, Prob<V> q) const {
    if (weight_p == weight_q) return log(p.p + q.p) + V(log_larger);
    const V lm = log(V(weight_p / larger) * p.p + V(weight_q / larger) * q.p) + V(log_larger);
    // Where the sum is below the smallest normal number, only the operand of the lower weight is
    // not 0.
    return select(lm < V(-1e30f), (weight_p < weight_q ? p.log : q.log) + V(log_smaller), lm);
  }
  template <class V>
  TI_LANE V term(Prob<V> p, Prob<V> q) const {
    if (is_zero()) return V(0) * (p.p + q.p);
    const V lm = log_mixture(p, q), by_p = times0(p.p, p.log - lm), by_q = times0(q.p, q.log - lm);
    return weight_p == weight_q ? V(0.5) * (by_p + by_q) : V(weight_p) * by_p + V(weight_q) * by_q;
  }
  template <class V>
  TI_LANE V slope_p(Prob<V> p, Prob<V> q) const {
    return is_zero() ? V(0) * p.p : V(weight_p) * (p.log - log_mixture(p, q));
  }
  template <class V>
  TI_LANE V d_lq(Prob<V> p, Prob<V> q) const {
    return is_zero() ? V(0) * q.p : times0(q.p, V(weight_q) * (q.log - log_mixture(p, q)));
  }
  // With equal weights, term = m (entropy gap of t), t = (p - q) / (p + q). With others, the terms
  // of p and q relative to m are (1 + x) log(1 + x) - x >= 0 each: their sum over the classes is
  // the same. Either way without the cancellation of the term.
  template <class V>
  TI_LANE V centered(Prob<V> p, Prob<V> q) const {
    if (weight_p == weight_q) {
      const V total = p.p + q.p, t = over0(p.p - q.p, total);
      return near_or_far(t, 0.25, V(0.5) * total * entropy_gap(t), term(p, q));
    }
    return relative_to(V(weight_p) * p.p + V(weight_q) * q.p, p.p - q.p);
  }
  template <class V>
  TI_LANE V near(Near<V> x) const {
    if (weight_p != weight_q) return relative_to(x.p - V(weight_q) * x.difference, x.difference);
    const V total = x.p + (x.p - x.difference);
    return V(0.5) * total * near_entropy_gap(over0(x.difference, total));
  }
  TI_LANE double curvature() const { return weight_p * weight_q; }

 private:
  // The limit where the mixture is one of the two.
  TI_LANE bool is_zero() const { return weight_p == 0 || weight_q == 0; }
  // With other weights, from the mixture and p - q.
  template <class V>
  TI_LANE V relative_to(V mixture, V difference) const {
    const V t = over0(difference, mixture);
    return mixture *
           (V(weight_p) * excess(V(weight_q) * t) + V(weight_q) * excess(V(-weight_p) * t));
  }
  // (1 + x) log(1 + x) - x >= 0, for x >= -1.
  template <class V>
  TI_LANE static V excess(V x) {
    V sum = V(0);  // x^2 / 2 - x^3 / 6 + x^4 / 12 - ...
    for (int k = 30; k > 1; --k) sum = V(1.0 / (k * (k - 1))) - sum * x;
    const V one = select(x < V(-1), V(0), V(1) + x),  // below by rounding only
        far = times0(one, log(one)) - x;
    return near_or_far(x, 0.25, sum * x * x, far);
  }
};

// Amari's alpha divergence: sum (p^a q^(1-a) - a p - (1-a) q) / (a (a - 1)). a = 1 is D(p || q),
// a = 0 is D(q || p), a = 1/2 four times the squared Hellinger distance, a = 2 half of chi-squared.
// Amari (2009), Alpha-Divergence Is Unique, Belonging to Both f-Divergence and Bregman Divergence
// Classes.
struct AlphaDivergence : SumOfTerms {
  static constexpr const char* name = "alpha_divergence";
  double alpha;
  TI_LANE explicit AlphaDivergence(double alpha) : alpha(alpha) {}
  // The order 1 - a exchanges p and q, and for the lower of the two the term is exact up to a = 0.
  template <class V>
  TI_LANE V term(Prob<V> p, Prob<V> q) const {
    return alpha > 0.5 ? lower(q, p, 1 - alpha) : lower(p, q, alpha);
  }
  template <class V>
  TI_LANE V slope_p(Prob<V> p, Prob<V> q) const {
    return box_cox(p.log - q.log, alpha - 1);
  }
  template <class V>
  TI_LANE V d_lp(Prob<V> p, Prob<V> q) const {
    return by_log(q, p, 1 - alpha);
  }
  template <class V>
  TI_LANE V d_lq(Prob<V> p, Prob<V> q) const {
    return by_log(p, q, alpha);
  }
  template <class V>
  TI_LANE V centered(Prob<V> p, Prob<V> q) const {
    return term(p, q);
  }
  TI_LANE bool has_near() const { return fabs(alpha - 0.5) <= 2.5; }
  template <class V>
  TI_LANE V near(Near<V> x) const {
    return alpha > 0.5 ? near_lower(x.p, -x.log_ratio, 1 - alpha)
                       : near_lower(x.p - x.difference, x.log_ratio, alpha);
  }
  TI_LANE static double curvature() { return 1; }

 private:
  // `lower` as a series in d = log(p / q), for |a d| <= 1: q times the sum of
  // d^k / k! (1 + a + ... + a^(k - 2)) from k = 2 on.
  template <class V>
  TI_LANE static V near_lower(V q, V d, double a) {
    V sum = V(0), power = q * d * d * V(0.5);
    double coefficient = 1;
    for (int k = 2; k < 13; ++k) {
      sum = sum + power * V(coefficient);
      power = power * d * V(1.0 / (k + 1));
      coefficient = 1 + a * coefficient;
    }
    return sum;
  }
  // q (r^a - 1) / a with r = p / q.
  template <class V>
  TI_LANE static V scaled(Prob<V> p, Prob<V> q, double a) {
    return times_box_cox(q.p, p.log - q.log, a, mixed_power(p, q, a));
  }
  // (q (r^a - 1) / a - q (r - 1)) / (a - 1), for a <= 1/2.
  template <class V>
  TI_LANE static V lower(Prob<V> p, Prob<V> q, double a) {
    const V d = p.log - q.log, unit(1 / (a - 1));
    const V near = q.p * (box_cox(d, a) - box_cox(d, 1)) * unit,
            far = (scaled(p, q, a) - (p.p - q.p)) * unit;
    return near_or_far(d, 0.5, near, far);
  }
  // By log q; exchanging p and q, and the order, by log p.
  template <class V>
  TI_LANE static V by_log(Prob<V> p, Prob<V> q, double a) {
    return -scaled(p, q, a);
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
    return (p.log - q.log) - box_cox(q.log - p.log, 1);
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
};

// sum sqrt(p q).
// Bhattacharyya (1943), On a Measure of Divergence between Two Statistical Populations.
struct BhattacharyyaCoefficient : SumOfTerms {
  static constexpr const char* name = "bhattacharyya_coefficient";
  static constexpr bool divergence = false;
  template <class V>
  TI_LANE static V term(Prob<V> p, Prob<V> q) {
    return exp(V(0.5) * (p.log + q.log));
  }
  template <class V>
  TI_LANE static V slope_p(Prob<V> p, Prob<V> q) {
    return V(0.5) * exp(V(0.5) * (q.log - p.log));
  }
  template <class V>
  TI_LANE static V d_lp(Prob<V> p, Prob<V> q) {
    return V(0.5) * term(p, q);
  }
  template <class V>
  TI_LANE static V d_lq(Prob<V> p, Prob<V> q) {
    return V(0.5) * term(p, q);
  }
};

}  // namespace
}  // namespace torch_infotheory
