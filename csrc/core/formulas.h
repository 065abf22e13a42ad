// formulas.h -- every quantity of the library, each stated once.
//
// A formula sees one class: p and q, each as a probability and as its logarithm. The value of a row
// is the sum of `term` over its classes. Derivatives are taken where they stay exact: `slope_p` is
// d term / d p, `d_lq` is d term / d log q (q d/dq is exact where d/dq overflows). What a formula
// does not mention is never computed.
#pragma once
#include <type_traits>

#include "core/arithmetic.h"

namespace torch_infotheory {
namespace {

template <class V>
struct Prob {
  V p, log;
};

// One class of two nearly equal rows, where |log p - log q| is at most kNear: p, p - q and log p -
// log q, each to the last digit. A formula that sums `near` needs float only; `curvature` is its
// second derivative by log q, for p = q = 1.
template <class V>
struct Near {
  V p, difference, log_ratio;
};
constexpr double kNear = 0.5;

// d term / d log p, for any formula. One whose slope by p may overflow where p is small states it
// itself.
template <class F, class V>
TI_LANE V d_lp(const F& f, Prob<V> p, Prob<V> q) {
  if constexpr (requires { f.d_lp(p, q); })
    return f.d_lp(p, q);
  else
    return times0(p.p, f.slope_p(p, q));
}

// p^a, given log p; 0 for p = 0, and for a = 0 the number of its classes.
template <class V>
TI_LANE V power(V log_p, double a) {
  if (a == 0) return select(log_p == V(-INFINITY), V(0), V(1));
  return exp(V(a) * log_p);
}
// p^a q^(1-a); where p and q are equal it is they, so that two zeros give 0.
template <class V>
TI_LANE V mixed_power(Prob<V> p, Prob<V> q, double a) {
  if (a == 0) return q.p;
  if (a == 1) return p.p;
  return select(p.log == q.log, q.p, exp(V(a) * p.log + V(1 - a) * q.log));
}

// A formula is a value: one with a parameter is made of it, any other of nothing.
template <class F>
TI_LANE F formula(double parameter) {
  if constexpr (requires { F(parameter); })
    return F(parameter);
  else
    return F();
}

// E_p[score(log p, log q)] with a score that is LINEAR in the two logarithms. Linearity gives both
// derivatives, and lets a row be reduced before its normalizers are known: moving log p by a and
// log q by b moves the score by score(a, b).
template <class F>
struct Expectation {
  static constexpr int class_dims = 1;
  static constexpr bool linear = true, divergence = false, fused = false, has_unit = true;
  template <class V>
  TI_LANE static V term(Prob<V> p, Prob<V> q) {
    return times0(p.p, F::score(p.log, q.log));
  }
  template <class V>
  TI_LANE static V slope_p(Prob<V> p, Prob<V> q) {
    return F::score(p.log, q.log) + F::score(V(1), V(0));
  }
  template <class V>
  TI_LANE static V d_lq(Prob<V> p, Prob<V>) {
    return p.p * F::score(V(0), V(1));
  }
};

// H(p) = - sum p log p.
// Shannon (1948), A Mathematical Theory of Communication.
struct Entropy : Expectation<Entropy> {
  static constexpr const char* name = "entropy";
  static constexpr int arity = 1;
  template <class V>
  TI_LANE static V score(V lp, V) {
    return -lp;
  }
};

// H(p, q) = - sum p log q.
// Cover and Thomas (2006), Elements of Information Theory.
struct CrossEntropy : Expectation<CrossEntropy> {
  static constexpr const char* name = "cross_entropy";
  static constexpr int arity = 2;
  static constexpr bool fused = true;
  template <class V>
  TI_LANE static V score(V, V lq) {
    return -lq;
  }
};

// D(p || q) = sum p log(p / q).
// Kullback and Leibler (1951), On Information and Sufficiency.
struct KlDivergence : Expectation<KlDivergence> {
  static constexpr const char* name = "kl_divergence";
  static constexpr int arity = 2;
  static constexpr bool divergence = true, fused = true;
  template <class V>
  TI_LANE static V score(V lp, V lq) {
    return lp - lq;
  }
  // term - p + q = p (e^-d - 1 + d) >= 0 with d = log p - log q: the same sum where p and q have
  // equal totals, without the cancellation of its terms where they are nearly equal.
  template <class V>
  TI_LANE static V centered(Prob<V> p, Prob<V> q) {
    const V d = p.log - q.log;
    const V far = times0(p.p, d) - p.p + q.p;
    return near_or_far(d, kNear, p.p * exp_remainder(d), far);
  }
  template <class V>
  TI_LANE static V near(Near<V> x) {
    return x.p * near_exp_remainder(x.log_ratio);
  }
  TI_LANE static double curvature() { return 1; }
};

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
    const V one = V(1) + x, far = times0(one, log(one)) - x;
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

// Tsallis' entropy: sum (p - p^a) / (a - 1); a = 1 is the entropy.
// Tsallis (1988), Possible Generalization of Boltzmann-Gibbs Statistics.
struct TsallisEntropy {
  static constexpr const char* name = "tsallis_entropy";
  static constexpr int arity = 1, class_dims = 1;
  static constexpr bool linear = false, divergence = false, fused = false, has_unit = false;
  double alpha;
  TI_LANE explicit TsallisEntropy(double alpha) : alpha(alpha) {}
  template <class V>
  TI_LANE V term(Prob<V> p, Prob<V>) const {
    return -times_box_cox(p.p, p.log, alpha - 1, power(p.log, alpha));
  }
  template <class V>
  TI_LANE V d_lp(Prob<V> p, Prob<V> q) const {
    return V(alpha) * term(p, q) - p.p;
  }
  template <class V>
  TI_LANE V slope_p(Prob<V> p, Prob<V>) const {
    return V(-1) - V(alpha) * box_cox(p.log, alpha - 1);
  }
};

// Quantities of a joint table: E[score(log p(x,y), log p(x), log p(y))], again linear in the three
// logarithms. The derivative by p(x,y) is the score plus score(1, 1, 1): each marginal moves with
// its cells.
template <class F>
struct JointExpectation {
  static constexpr int arity = 1, class_dims = 2;
  static constexpr bool divergence = false, has_unit = true;
};

// H(X, Y) = - E log p(x,y).
// Cover and Thomas (2006), chapter 2, as for the next two.
struct JointEntropy : JointExpectation<JointEntropy> {
  static constexpr const char* name = "joint_entropy";
  template <class V>
  TI_LANE static V score(V lxy, V, V) {
    return -lxy;
  }
};

// H(Y | X) = - E log p(y | x) = H(X, Y) - H(X).
struct ConditionalEntropy : JointExpectation<ConditionalEntropy> {
  static constexpr const char* name = "conditional_entropy";
  template <class V>
  TI_LANE static V score(V lxy, V lx, V) {
    return lx - lxy;
  }
};

// I(X; Y) = E log (p(x,y) / (p(x) p(y))).
struct MutualInformation : JointExpectation<MutualInformation> {
  static constexpr const char* name = "mutual_information";
  static constexpr bool divergence = true;
  template <class V>
  TI_LANE static V score(V lxy, V lx, V ly) {
    return lxy - (lx + ly);
  }
  template <class V>
  TI_LANE static V centered(Prob<V> joint, Prob<V> product) {
    return KlDivergence::centered(joint, product);
  }
};

// VI(X, Y) = H(X | Y) + H(Y | X).
// Meila (2007), Comparing Clusterings.
struct VariationOfInformation : JointExpectation<VariationOfInformation> {
  static constexpr const char* name = "variation_of_information";
  template <class V>
  TI_LANE static V score(V lxy, V lx, V ly) {
    return (lx - lxy) + (ly - lxy);
  }
};

// The registration loops iterate over these lists. A new formula is added to one of them, and needs
// no other wiring.
template <class... F>
struct List {};
using RowFormulas =
    List<Entropy, CrossEntropy, KlDivergence, JsDivergence, AlphaDivergence, JeffreysDivergence,
         TotalVariation, BhattacharyyaCoefficient, TsallisEntropy>;
using TableFormulas =
    List<JointEntropy, ConditionalEntropy, MutualInformation, VariationOfInformation>;

// visit(std::type_identity<F>) for every F.
template <class Visit, class... F>
inline void each(List<F...>, Visit&& visit) {
  (visit(std::type_identity<F>{}), ...);
}

// The position of F in its list.
template <class F, class... Fs>
constexpr int index_of(List<Fs...>) {
  constexpr bool same[] = {__is_same(F, Fs)...};
  int i = 0;
  while (i < int(sizeof...(Fs)) && !same[i]) ++i;
  return i;
}

// Whether the classes of a row are the cells of a joint table, in two dimensions.
template <class F>
constexpr bool is_table = F::class_dims == 2;

}  // namespace
}  // namespace torch_infotheory
