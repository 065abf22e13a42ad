// orders.h -- the entropies and divergences with an order.
#pragma once
#include "core/divergences.h"

namespace torch_infotheory {
namespace {

// p^a, given log p; 0 for p = 0, and for a = 0 the number of its classes.
template <class V>
TI_LANE V power(V log_p, const Exponent& e) {
  if (e.is_0) return select(log_p == V(-INFINITY), V(0), V(1));
  return accurate_exp(V(e.a) * log_p);
}

// Tsallis' entropy: sum (p - p^a) / (a - 1); a = 1 is the entropy.
// Tsallis (1988), Possible Generalization of Boltzmann-Gibbs Statistics.
struct TsallisEntropy {
  static constexpr const char* name = "tsallis_entropy";
  static constexpr int arity = 1, class_dims = 1;
  static constexpr bool linear = false, divergence = false, fused = false, has_unit = false;
  Exponent alpha, alpha_less_1;
  TI_LANE explicit TsallisEntropy(double alpha) : alpha(alpha), alpha_less_1(alpha - 1) {}
  template <class V>
  TI_LANE V term(Prob<V> p, Prob<V>) const {
    return -times_box_cox(p.p, p.log, alpha_less_1, power(p.log, alpha));
  }
  template <class V>
  TI_LANE V d_lp(Prob<V> p, Prob<V> q) const {
    return V(alpha.a) * term(p, q) - p.p;
  }
  template <class V>
  TI_LANE V slope_p(Prob<V> p, Prob<V>) const {
    return V(-1) - V(alpha.a) * box_cox(p.log, alpha_less_1);
  }
};

// Renyi's entropy log(sum p^a / sum p) / (1 - a), times |1 - a|.
// Renyi (1961), On Measures of Entropy and Information.
struct RenyiEntropy : LogSum {
  static constexpr const char* name = "renyi_entropy";
  static constexpr int arity = 1;
  static constexpr bool divergence = false;
  TI_LANE explicit RenyiEntropy(double alpha) : LogSum(alpha, 0, alpha < 1 ? 1 : -1) {}
  template <class V>
  TI_LANE V exponent(Prob<V> p, Prob<V>) const {
    return V(alpha) * p.log;
  }
  template <class V>
  TI_LANE V exponent_by_p(Prob<V> p, Prob<V>) const {
    return V(alpha_less_1) * p.log;
  }
};

// Amari's alpha divergence: sum (p^a q^(1-a) - a p - (1-a) q) / (a (a - 1)). a = 1 is D(p || q),
// a = 0 is D(q || p), a = 1/2 four times the squared Hellinger distance, a = 2 half of chi-squared.
// Amari (2009), Alpha-Divergence Is Unique, Belonging to Both f-Divergence and Bregman Divergence
// Classes.
struct AlphaDivergence : SumOfTerms {
  static constexpr const char* name = "alpha_divergence";
  static constexpr double small = 0x1p-4;
  static constexpr int last = 12;  // the highest power in `near`
  Exponent alpha, beta, one;       // of p and q, whose sum is 1
  // The order 1 - a exchanges p and q. With the lower exponent a, 1 / (a - 1) and 1 + a + ... +
  // a^(k - 2) for k = 2 and above; and 1 / (alpha beta).
  Coefficient unit, series[last - 1], inverse_product;
  bool p_is_lower, p_is_negative, series_converges;
  bool p_is_exact, q_is_exact;  // the quotients by alpha and by beta lose no digits
  TI_LANE explicit AlphaDivergence(double order)
      : alpha(order),
        beta(1 - order),
        one(1),
        unit(1 / ((order > 0.5 ? 1 - order : order) - 1)),
        inverse_product(1 / (order * (1 - order))),
        p_is_lower(!(order > 0.5)),
        p_is_negative(order < 0),
        series_converges(fabs(order - 0.5) <= 2.5),
        p_is_exact(fabs(order) >= 0.25),
        q_is_exact(fabs(1 - order) >= 0.25) {
    double sum = 1;
    for (int k = 2; k <= last; ++k) {
      series[k - 2] = sum;
      sum = 1 + (p_is_lower ? alpha : beta).a * sum;
    }
  }
  // Away from the orders 0 and 1 nothing is a limit.
  template <class V>
  TI_LANE Terms<V> terms(Prob<V> p, Prob<V> q) const {
    if (!p_is_exact || !q_is_exact) return {centered(p, q), d_lp(p, q), d_lq(p, q)};
    const V both = power_of_logarithms(p, q), mean = rounded(V(alpha.a) * p.p) + V(beta.a) * q.p;
    return {(mean - both) * V(inverse_product), (p.p - both) * V(beta.inverse),
            (q.p - both) * V(alpha.inverse)};
  }
  template <class V>
  TI_LANE V term(Prob<V> p, Prob<V> q) const {
    return terms(p, q).value;
  }
  template <class V>
  TI_LANE V slope_p(Prob<V> p, Prob<V> q) const {
    const V d = q.log - p.log;
    return q_is_exact ? (V(1) - accurate_exp(V(beta.a) * d)) * V(beta.inverse) : -box_cox(d, beta);
  }
  template <class V>
  TI_LANE V d_lp(Prob<V> p, Prob<V> q) const {
    return q_is_exact ? (p.p - power(p, q)) * V(beta.inverse)
                      : -times_box_cox(p.p, q.log - p.log, beta, power(p, q));
  }
  template <class V>
  TI_LANE V d_lq(Prob<V> p, Prob<V> q) const {
    return p_is_exact ? (q.p - power(p, q)) * V(alpha.inverse)
                      : -times_box_cox(q.p, p.log - q.log, alpha, power(p, q));
  }
  template <class V>
  TI_LANE V slope_q_at_0(V p, V slope) const {
    return p_is_negative ? select(p == V(0), V(0), V(alpha.inverse) + V(0) * p) : slope;
  }
  // Exact for every order up to the lower exponent 0.
  template <class V>
  TI_LANE V centered(Prob<V> p, Prob<V> q) const {
    return p_is_lower ? lower(p, q, alpha, power(p, q)) : lower(q, p, beta, power(p, q));
  }
  TI_LANE bool has_near() const { return series_converges; }
  template <class V>
  TI_LANE V near(Near<V> x) const {
    return p_is_lower ? near_lower(x.p - x.difference, x.log_ratio) : near_lower(x.p, -x.log_ratio);
  }
  TI_LANE static double curvature() { return 1; }

 private:
  // p^alpha q^beta; where p and q are equal it is they, so that two zeros give 0.
  template <class V>
  TI_LANE V power(Prob<V> p, Prob<V> q) const {
    return alpha.is_0 ? q.p : beta.is_0 ? p.p : power_of_logarithms(p, q);
  }
  template <class V>
  TI_LANE V power_of_logarithms(Prob<V> p, Prob<V> q) const {
    const V mean = accurate_exp(rounded(V(alpha.a) * p.log) + V(beta.a) * q.log);
    return unless_equal(p.log, q.log, p.p, q.p, mean);
  }
  // `lower` as a series in d = log(p / q), for |a d| <= 1: q times the sum of
  // d^k / k! (1 + a + ... + a^(k - 2)) from k = 2 on.
  template <class V>
  TI_LANE V near_lower(V q, V d) const {
    V sum = V(0), power = q * d * d * V(0.5);
    for (int k = 2; k <= last; ++k) {
      sum = sum + power * V(series[k - 2]);
      power = power * d * V(1.0 / (k + 1));
    }
    return sum;
  }
  // (q (r^a - 1) / a - q (r - 1)) / (a - 1) with r = p / q, given q r^a, for a <= 1/2.
  template <class V>
  TI_LANE V lower(Prob<V> p, Prob<V> q, const Exponent& a, V power) const {
    const V d = p.log - q.log;
    const V near = q.p * (box_cox(d, a) - box_cox(d, one)) * V(unit),
            far = (times_box_cox(q.p, d, a, power) - (p.p - q.p)) * V(unit);
    return near_or_far(d, 0.5, near, far);
  }
};

// A logarithm of p below this is that of 0, as a mask states it; a power of it may be infinite.
constexpr double kLogOfZero = -1e30;

// Renyi's divergence log(sum p^a q^(1-a) / sum p) / (a - 1), times |a - 1|.
// van Erven and Harremoes (2014), Renyi Divergence and Kullback-Leibler Divergence.
struct RenyiDivergence : LogSum {
  static constexpr const char* name = "renyi_divergence";
  static constexpr int arity = 2;
  static constexpr bool divergence = true;
  static constexpr double small = AlphaDivergence::small;
  AlphaDivergence alpha_divergence;
  TI_LANE explicit RenyiDivergence(double alpha)
      : LogSum(alpha, 1 - alpha, alpha > 1 ? 1 : -1), alpha_divergence(alpha) {}
  template <class V>
  TI_LANE V exponent(Prob<V> p, Prob<V> q) const {
    return select(p.log < V(kLogOfZero), V(-INFINITY), rounded(V(alpha) * p.log) + V(beta) * q.log);
  }
  // Less log p: infinite where p is 0.
  template <class V>
  TI_LANE V exponent_by_p(Prob<V> p, Prob<V> q) const {
    return select(p.log < V(kLogOfZero), V(sign) * V(-INFINITY),
                  rounded(V(alpha_less_1) * p.log) + V(beta) * q.log);
  }
  // Where the totals are equal, sum p^a q^(1-a) = sum p + a (a - 1) A with the alpha divergence A.
  template <class V>
  TI_LANE V centered(Prob<V> p, Prob<V> q) const {
    return alpha_divergence.centered(p, q);
  }
  template <class V>
  TI_LANE V near(Near<V> x) const {
    return alpha_divergence.near(x);
  }
  TI_LANE bool has_near() const { return alpha_divergence.has_near(); }
  TI_LANE static double curvature() { return AlphaDivergence::curvature(); }
  template <class V>
  TI_LANE V of_centered(V sum, V p_sum) const {
    return V(sign) * log1p(V(-alpha * beta) * sum / p_sum);
  }
};

}  // namespace
}  // namespace torch_infotheory
