// formulas.h -- every quantity of the library, stated once: here, in divergences.h or orders.h.
#pragma once
#include <type_traits>

#include "core/orders.h"

namespace torch_infotheory {
namespace {

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
    return x.p * exp_remainder(x.log_ratio);
  }
  TI_LANE static double curvature() { return 1; }
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
         TotalVariation, BhattacharyyaCoefficient, TsallisEntropy, RenyiEntropy, RenyiDivergence>;
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

// Whether an op of the formula may return the terms of single classes, as kl_div does.
template <class F>
constexpr bool has_terms = F::linear && F::divergence;

// Whether the classes of a row are the cells of a joint table, in two dimensions.
template <class F>
constexpr bool is_table = F::class_dims == 2;

}  // namespace
}  // namespace torch_infotheory
