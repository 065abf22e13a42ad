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

// d term / d x of one class, given the row's total of d / d log p.
template <Kind kind, class F, class V>
TI_LANE V gradient_by_p(const F& f, Prob<V> p, Prob<V> q, V total) {
  if constexpr (kind == kProbs || kind == kWeights) {
    const V slope = finite_at0(p.p, f.slope_p(p, q));
    return kind == kWeights ? slope
                            : select(p.p == p.p, slope, p.p);  // a NaN shows in its own gradient
  }
  const V w = d_lp(f, p, q);
  if constexpr (kind == kLogits) return w - p.p * total;
  return select(p.log == p.log, w, p.log);
}
template <Kind kind, class F, class V>
TI_LANE V gradient_by_q(const F& f, Prob<V> p, Prob<V> q, V total) {
  const V w = f.d_lq(p, q);
  if constexpr (kind == kProbs) return over0(w, q.p);
  if constexpr (kind == kLogits) return w - q.p * total;
  return select(q.log == q.log, w, q.log);
}

// d value / d x of one cell of a joint table: the score and, as each marginal moves with its cells,
// score(1, 1, 1). A cell of probability 0 gets 0.
template <class F, Kind kind, class V>
TI_LANE V gradient_by_cell(Prob<V> joint, V lx, V ly, V total) {
  const V slope = F::score(joint.log, lx, ly) + F::score(V(1), V(1), V(1)),
          w = times0(joint.p, slope);
  if constexpr (kind == kProbs) return select(joint.p == V(0), V(0), slope);
  if constexpr (kind == kLogits) return w - joint.p * total;
  return select(joint.log == joint.log, w, joint.log);
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

// Below this a divergence has lost digits to cancellation: the error of one reading in float is
// about 1e-6, whatever the scale of the logits. The bound for double is higher because its error is
// to be a few epsilon, not a thousandth of the value.
template <class A>
constexpr double kSmall = sizeof(A) == sizeof(double) ? 0x1p-4 : 0x1p-8;
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
