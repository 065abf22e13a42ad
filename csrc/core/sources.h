// sources.h -- how a row of memory states a distribution, and what that makes of a derivative.
//
//   probs       x = p           log p = log x     d/dx = d/dp
//   log_probs   x = log p       p = e^x           d/dx = d/dlog p
//   logits      x               p = e^(x - z)     d/dx_j = w_j - p_j sum(w), w = d/dlog p
//                               z = log sum e^x; with a temperature, x is what it divides to
//   labels      y               p = 1 at y        none; smoothed: a constant, and more at y
//   weights     x = p           any numbers       d/dx = d/dp, of a loss target
#pragma once
#include "core/formulas.h"
#include "core/rows.h"

namespace torch_infotheory {
namespace {

// A probability read from memory. A negative one becomes NaN, so that no plausible value results.
template <Kind kind, class V>
TI_LANE V checked_probability(V x) {
  return kind == kProbs ? select(x < V(0), V(NAN), x) : x;
}

// read<kind>() of memory that states a probability of every class.
template <class Read>
TI_LANE auto with_kind(Kind kind, Read read) {
  switch (kind) {
    case kLogits:
      return read.template operator()<kLogits>();
    case kLogProbs:
      return read.template operator()<kLogProbs>();
    default:
      return read.template operator()<kProbs>();
  }
}

// The probability that memory of a kind states by x, which for logits is relative to z already.
template <Kind kind, class V>
TI_LANE Prob<V> probability_of(V x) {
  if constexpr (kind == kLogits) return {exp(x), x};
  if constexpr (kind == kLogProbs) return {unbiased_exp(x), x};
  const V p = checked_probability<kind>(x);
  return {p, kind == kProbs ? log(p) : p};  // no formula reads the logarithm of kWeights
}

// d / d x of one class where x is a logit or a log p, from w = d / d log p and the row's total of
// w. A NaN shows in its own gradient.
template <Kind kind, class V>
TI_LANE V chain(Prob<V> p, V w, V total) {
  if constexpr (kind == kLogits) return rounded(w) - p.p * total;
  return select(p.log == p.log, w, p.log);
}

// d term / d x of one class, by p, by q, and by both where they are stated in the same way.
template <Kind kind, class F, class V>
TI_LANE V gradient_by_p(const F& f, Prob<V> p, Prob<V> q, V total) {
  if constexpr (kind == kProbs || kind == kWeights) {
    const V slope = finite_at0(p.p, f.slope_p(p, q));
    return kind == kWeights ? slope : select(p.p == p.p, slope, p.p);
  } else {
    return chain<kind>(p, d_lp(f, p, q), total);
  }
}
template <Kind kind, class F, class V>
TI_LANE V gradient_by_q(const F& f, Prob<V> p, Prob<V> q, V total) {
  if constexpr (kind == kProbs)
    return slope_q(f, p, q);
  else
    return chain<kind>(q, f.d_lq(p, q), total);
}
template <class V>
struct Slopes {
  V by_p, by_q;
};
template <Kind kind, class F, class V>
TI_LANE Slopes<V> gradient_by_both(const F& f, Prob<V> p, Prob<V> q, V total_p, V total_q) {
  if constexpr (kind == kProbs) {
    return {gradient_by_p<kind>(f, p, q, total_p), gradient_by_q<kind>(f, p, q, total_q)};
  } else {
    const Terms<V> x = terms(f, p, q);
    return {chain<kind>(p, x.d_lp, total_p), chain<kind>(q, x.d_lq, total_q)};
  }
}

// d value / d x of one cell of a joint table: the score and, as each marginal moves with its cells,
// score(1, 1, 1). A cell of probability 0 gets 0.
template <class F, Kind kind, class V>
TI_LANE V gradient_by_cell(Prob<V> joint, V lx, V ly, V total) {
  const V slope = F::score(joint.log, lx, ly) + F::score(V(1), V(1), V(1));
  if constexpr (kind == kProbs)
    return select(joint.p == V(0), V(0), slope);
  else
    return chain<kind>(joint, times0(joint.p, slope), total);
}

// A loss target with class weights and label smoothing states the linear weights w_c ((1 - s) t_c +
// s / C).
struct Smoothing {
  double kept, spread;
  TI_LANE Smoothing(double label_smoothing, int64_t classes)
      : kept(1 - label_smoothing), spread(label_smoothing / double(classes)) {}
};
// Only formulas that are linear in p have a loss target, because its log p is not defined.
template <class A>
struct TargetOptions {
  const A* weight;
  Smoothing smoothing;
  bool is_plain;  // neither weights nor smoothing
  bool is_dense;  // other classes than the label have a probability
  TI_LANE explicit TargetOptions(const Rows& r)
      : weight(r.classes ? static_cast<const A*>(r.weight) : nullptr),
        smoothing(r.label_smoothing, r.classes),
        is_plain(!r.weight && r.label_smoothing == 0),
        is_dense(r.p.kind != kLabels || r.label_smoothing != 0) {}
};

// read(labels) with class indices in the integer type that holds them.
template <class Read>
TI_LANE auto with_labels(const Operand& labels, Read read) {
  switch (labels.type) {
    case kUInt8:
      return read(static_cast<const uint8_t*>(labels.data));
    case kInt8:
      return read(static_cast<const int8_t*>(labels.data));
    case kInt16:
      return read(static_cast<const int16_t*>(labels.data));
    case kInt32:
      return read(static_cast<const int32_t*>(labels.data));
    default:
      return read(static_cast<const int64_t*>(labels.data));
  }
}
// A class index, or a pack of them: whether its row counts, and whether it is out of range. Only
// one whose row counts may be used as an index.
template <class I>
struct ClassIndex {
  using Test = decltype(I() == I());
  Test counts, bad;
  TI_LANE ClassIndex(I c, int64_t classes, int64_t ignore_index) {
    const Test no{}, inside = (c >= 0) & (c < classes), ignored = c == ignore_index;
    counts = inside & (ignored == no);
    bad = (inside == no) & (ignored == no);
  }
};
// A number in memory divided by the temperature, as kernels read it.
TI_LANE double tempered(double number, const Operand& x) {
  if (x.temperature == 1) return number;
  return x.quotient == kDouble ? number / x.temperature
                               : double(float(number) / float(x.temperature));
}
// The class index of a row.
TI_LANE int64_t label_at(const Operand& labels, int64_t offset) {
  return with_labels(labels, [&](const auto* x) { return int64_t(x[offset]); });
}

// Totals of p and q count as equal within the rounding of their entries: 8 epsilon of the type that
// states them.
TI_LANE double rounding_of_totals(const Operand& x) {
  if (x.kind == kLogits) return 0;
  return 8 * (x.type == kDouble  ? 0x1p-52
              : x.type == kFloat ? 0x1p-23
              : x.type == kHalf  ? 0x1p-10
                                 : 0x1p-7);
}

// Whether two rows of these kinds have exact differences, and the formula a term of them: kLogits
// and kLogProbs may be mixed.
template <class F>
constexpr bool states_near = requires(F f, Near<float> x) { f.near(x); };
template <class F>
bool has_near([[maybe_unused]] const F& f, const Rows& r) {
  if constexpr (requires { f.has_near(); })
    if (!f.has_near()) return false;
  const auto is_log = [](Kind kind) { return kind == kLogits || kind == kLogProbs; };
  return (is_log(r.p.kind) && is_log(r.q.kind)) || (r.p.kind == kProbs && r.q.kind == kProbs);
}
// What is added to the literal value of a divergence where the totals of p and q agree, so that it
// is that of the centered terms.
template <class F>
TI_LANE double correction([[maybe_unused]] const F& f, double p_sum, double q_sum) {
  if constexpr (is_log_sum<F>) return f.correction(p_sum, q_sum);
  return F::linear ? q_sum - p_sum : 0;
}
// The totals of a divergence with the value of the centered terms. The derivatives are those of the
// literal sum.
template <class F>
TI_LANE Totals<double> totals_of_centered(const F& f, double value, double p_sum, double q_sum) {
  return f.totals(value - correction(f, p_sum, q_sum), p_sum, q_sum);
}
// The value of a row from the sum of its centered terms.
template <class F>
TI_LANE double value_of_centered([[maybe_unused]] const F& f, double sum,
                                 [[maybe_unused]] double p_sum) {
  if constexpr (is_log_sum<F>)
    return f.of_centered(sum, p_sum);
  else
    return sum;
}
// The value of such rows from the sum of their terms and that of p - q. The totals of logits differ
// by the error of the normalizers, which enters as its square.
template <class F>
TI_LANE double near_value(const F& f, const Rows& r, double value, double difference,
                          double p_sum) {
  const bool normalized = r.p.kind == kLogits && r.q.kind == kLogits;
  const double curvature = normalized ? f.curvature() : 0,
               refined = value - curvature * difference * difference / 2;
  return value_of_centered(f, refined < 0 ? 0 : refined, p_sum);  // a NaN is propagated
}

// Below this a divergence has lost digits to cancellation: the error of one reading in float is
// about 1e-6, whatever the scale of the logits. The bound for double is higher because its error is
// to be a few epsilon, not a thousandth of the value; so is that of formulas for which other forms
// of their terms are that exact.
template <class F, class A>
constexpr double small_value() {
  if constexpr (requires { F::small; }) return F::small;
  return sizeof(A) == sizeof(double) ? 0x1p-4 : 0x1p-8;
}
// The rounding of sums in float, which adds to that of the totals.
constexpr double kRoundingOfSums = 1e-5;

// Whether two totals agree up to their rounding. The value of a divergence is then the sum of its
// centered term, sum - p + q, at every size, so that it is continuous where small values are summed
// again.
TI_LANE bool totals_agree(double rounding, double p, double q) {
  return fabs(p - q) <= rounding * (p > q ? p : q);
}
TI_LANE bool totals_agree(const Rows& r, double p, double q, double slack, double part = 1) {
  const double rounding_p = rounding_of_totals(r.p), rounding_q = rounding_of_totals(r.q);
  return totals_agree(part * (rounding_p > rounding_q ? rounding_p : rounding_q) + slack, p, q);
}

}  // namespace
}  // namespace torch_infotheory
