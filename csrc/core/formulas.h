// formulas.h -- every quantity of the library, each stated once.
//
// A formula sees one class: p and q, each as a probability and as its logarithm. The value of a row
// is the sum of `term` over its classes. Derivatives are taken where they stay exact: `slope_p` is
// d term / d p, `d_lq` is d term / d log q (q d/dq is exact where d/dq overflows). What a formula
// does not mention is never computed.
//
// Knows arithmetic (lanes.h); must not know memory, softmax, labels, devices, or torch. Read next:
// sources.h.
#pragma once
#include "core/lanes.h"

namespace torch_infotheory {
namespace {

template <class V>
struct Prob {
  V p, log;
};

// d term / d log p, for any formula.
template <class F, class V>
TI_LANE V d_lp(Prob<V> p, Prob<V> q) {
  return times0(p.p, F::slope_p(p, q));
}

// E_p[score(log p, log q)] with a score that is LINEAR in the two logarithms. Linearity gives both
// derivatives, and lets a row be reduced before its normalisers are known: moving log p by a and
// log q by b moves the score by score(a, b).
template <class F>
struct Expectation {
  static constexpr int class_dims = 1;
  static constexpr bool linear = true, divergence = false, fused = false;
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

// H(p) = - sum p log p.                                       Shannon (1948), A Mathematical Theory
// of Communication.
struct Entropy : Expectation<Entropy> {
  static constexpr const char* name = "entropy";
  static constexpr int arity = 1;
  template <class V>
  TI_LANE static V score(V lp, V) {
    return -lp;
  }
};

// H(p, q) = - sum p log q.                                    Cover & Thomas (2006), Elements of
// Information Theory.
struct CrossEntropy : Expectation<CrossEntropy> {
  static constexpr const char* name = "cross_entropy";
  static constexpr int arity = 2;
  static constexpr bool fused = true;
  template <class V>
  TI_LANE static V score(V, V lq) {
    return -lq;
  }
};

// D(p || q) = sum p log(p / q).                               Kullback & Leibler (1951), On
// Information and Sufficiency.
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
  TI_LANE static V centred(Prob<V> p, Prob<V> q) {
    const V d = p.log - q.log;
    const V far = times0(p.p, d) - p.p + q.p;
    return select((d < V(0.5)) & (d > V(-0.5)), p.p * exp_remainder(d), far);
  }
};

// JS(p, q) = (D(p || m) + D(q || m)) / 2 with m = (p + q) / 2.   Lin (1991), Divergence Measures
// Based on the Shannon Entropy.
struct JsDivergence {
  static constexpr const char* name = "js_divergence";
  static constexpr int arity = 2;
  static constexpr int class_dims = 1;
  static constexpr bool linear = false, divergence = true, fused = false;
  // log m, without the rounding of p / 2 to zero that the least positive p would suffer.
  template <class V>
  TI_LANE static V log_mixture(Prob<V> p, Prob<V> q) {
    return log(p.p + q.p) - V(0.69314718055994531);
  }
  template <class V>
  TI_LANE static V term(Prob<V> p, Prob<V> q) {
    const V lm = log_mixture(p, q);
    return V(0.5) * (times0(p.p, p.log - lm) + times0(q.p, q.log - lm));
  }
  template <class V>
  TI_LANE static V slope_p(Prob<V> p, Prob<V> q) {
    return V(0.5) * (p.log - log_mixture(p, q));
  }
  template <class V>
  TI_LANE static V d_lq(Prob<V> p, Prob<V> q) {
    return times0(q.p, slope_p(q, p));
  }
  // term = m (entropy gap of t), t = (p - q) / (p + q): the same number, without cancellation near
  // t = 0.
  template <class V>
  TI_LANE static V centred(Prob<V> p, Prob<V> q) {
    const V total = p.p + q.p, t = over0(p.p - q.p, total);
    return select((t < V(0.25)) & (t > V(-0.25)), V(0.5) * total * entropy_gap(t), term(p, q));
  }
};

// Quantities of a joint table: E[score(log p(x,y), log p(x), log p(y))], again linear in the three
// logarithms. The derivative by p(x,y) is the score plus score(1, 1, 1): each marginal moves with
// its cells.
template <class F>
struct JointExpectation {
  static constexpr int arity = 1, class_dims = 2;
  static constexpr bool divergence = false;
};

// H(X, Y) = - E log p(x,y).                                   Cover & Thomas (2006), chapter 2, as
// for the next three.
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
  TI_LANE static V centred(Prob<V> joint, Prob<V> product) {
    return KlDivergence::centred(joint, product);
  }
};

// VI(X, Y) = H(X | Y) + H(Y | X).                             Meila (2007), Comparing Clusterings.
struct VariationOfInformation : JointExpectation<VariationOfInformation> {
  static constexpr const char* name = "variation_of_information";
  template <class V>
  TI_LANE static V score(V lxy, V lx, V ly) {
    return (lx - lxy) + (ly - lxy);
  }
};

// What the registration loops walk. A new formula is added to one of these lists, and that is all
// the wiring it needs.
template <class... F>
struct List {};
using RowFormulas = List<Entropy, CrossEntropy, KlDivergence, JsDivergence>;
using TableFormulas =
    List<JointEntropy, ConditionalEntropy, MutualInformation, VariationOfInformation>;

template <class Visit, class... F>
inline void each(List<F...>, Visit&& visit) {
  (visit(F{}), ...);
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
