// pair.h -- p and q of a row group, together: as blocks of probabilities, or for the most frequent
// kinds directly from memory. A loss target has class weights and label smoothing applied.
#pragma once
#include "cpu/rows/operand.h"

namespace torch_infotheory {
namespace {

// Class weights and label smoothing, applied to a block of p and to a block of its derivative.
template <class A>
struct Target : TargetOptions<A> {
  using TargetOptions<A>::weight, TargetOptions<A>::smoothing, TargetOptions<A>::is_plain;
  // Written out, because gcc compiles an inherited constructor for the baseline instruction set.
  explicit Target(const Rows& r) : TargetOptions<A>(r) {}

  // The weights of one class per lane.
  TI_LANE Pack<double> weights_of(Indices places) const {
    return weight ? load_at(weight, places) : Pack<double>(1);
  }

  // to_i = w_i (kept to_i + spread)
  void apply(const RowGroup& group, A* to, int64_t first, int64_t n, double kept,
             double spread) const {
    constexpr int width = Pack<A>::width;
    const Pack<A> a(kept), b(spread);
    for (int64_t i = 0; i < group.packs<A>(n); ++i) {
      const int64_t left = n - i * width;
      Pack<A> w(group.lanes_are_rows || left >= width ? 1 : 0);
      if (weight)
        w = group.lanes_are_rows
                ? Pack<A>(weight[first + i])
                : load_lanes<A>(weight + first + i * width, 1, left < width ? left : width, A(0));
      else if (!group.lanes_are_rows && left < width)
        w = first_lanes(Pack<A>(1), left);
      store(to + i * width, w * (a * load<A>(to + i * width) + b));
    }
  }
  void apply(const RowGroup& group, Block<A>& p, int64_t first, int64_t n) const {
    if (!is_plain) apply(group, p.p, first, n, smoothing.kept, smoothing.spread);
  }
  void vjp(const RowGroup& group, A* d, int64_t first, int64_t n) const {
    if (!is_plain) apply(group, d, first, n, smoothing.kept, 0);
  }
};

// The same probability for all classes: the smoothing term of labels.
template <class A>
struct Constant {
  static constexpr Kind kind = kLabels;
  Pack<A> p;
  AccessPattern pattern;
  template <bool whole>
  TI_LANE Prob<Pack<A>> at(int64_t pack, std::bool_constant<whole>) const {
    const Pack<A> v = whole ? p : first_lanes(p, pattern.lanes(pack));
    return {v, v};
  }
};

// p and q of a row group.
template <class A>
struct Pair {
  static constexpr bool fuses = TI_PACK_BYTES == 64 && sizeof(A) == sizeof(float);
  enum Fused { kNothing, kBothLogits, kBothProbs, kWeightsAndLogits, kLabelsAndLogits };

  const Rows& r;
  RowGroup group;
  Source<A> p, q;
  Target<A> target;
  Fused fused;

  // The panels are used where rows are transposed.
  Pair(const Rows& rows, bool lanes_are_rows, A* panel_p, A* panel_q)
      : r(rows),
        group(lanes_are_rows),
        p(rows, rows.p, group, panel_p),
        q(rows, rows.q, group, panel_q),
        target(rows),
        fused(fused_as()) {}

  // Moves to as many rows as there are lanes, from row j of a range on.
  void move_to(const RowRange& range, int64_t j) {
    group.resize<A>(range.n - j);
    if (p.kind != kLabels) p.move_to(r, r.p, range.at.p + j * row_stride(r, r.p), group);
    if (r.q.data) q.move_to(r, r.q, range.at.q + j * row_stride(r, r.q), group);
  }
  bool has_panels() const { return p.panel || q.panel; }
  void normalize(const Normalizers& zp, const Normalizers& zq) {
    p.normalize(zp, group);
    q.normalize(zq, group);
  }
  // Calls visit(first, n) for blocks of the classes.
  template <class Visit>
  void each_block(Visit visit) const {
    torch_infotheory::each_block(r.classes, group.classes_per_block<A>(), visit);
  }
  // Calls f(p, q, packs, whole) for n classes: directly from memory where the formula asks for it
  // (`fused`) and the kinds are among the most frequent, or else as blocks. Time of blocks relative
  // to memory, AMD EPYC with AVX-512, one thread: smoothed cross-entropy 1.34 to 1.46, KL 1.05
  // (backward 1.12), but entropy 0.95 and JS 0.8; and a fused formula compiles 10 s longer.
  template <class F, class Fold>
  TI_LANE void fold(int64_t first, int64_t n, Fold f) {
    constexpr int arity = F::arity;
    if constexpr (fuses && F::fused) {
      const auto both = [&](const auto& x, const auto& y) __attribute__((always_inline)) {
        const int64_t whole = x.whole();
        f(x, y, x.packs(), whole < y.whole() ? whole : y.whole());
      };
      switch (fused) {
        case kBothLogits:
          return both(p.template probs<kLogits>(group, first, n),
                      q.template probs<kLogits>(group, first, n));
        case kBothProbs:
          return both(p.template probs<kProbs>(group, first, n),
                      q.template probs<kProbs>(group, first, n));
        case kWeightsAndLogits:
          return both(p.template probs<kWeights>(group, first, n),
                      q.template probs<kLogits>(group, first, n));
        case kLabelsAndLogits: {
          const auto y = q.template probs<kLogits>(group, first, n);
          return f(Constant<A>{Pack<A>(target.smoothing.spread), y.span.pattern}, y, y.packs(),
                   y.whole());
        }
        default:
          break;
      }
    }
    Block<A> a, b;
    if (p.kind != kLabels)
      p.read_block(group, first, n, a);
    else
      for (int64_t i = 0; i < group.packs<A>(n) * Pack<A>::width; ++i) a.p[i] = 0;
    target.apply(group, a, first, n);
    if constexpr (arity == 2) q.read_block(group, first, n, b);
    const int64_t packs = group.packs<A>(n);
    f(a, arity == 2 ? b : a, packs, packs);
  }

 private:
  Fused fused_as() const {
    const bool two = r.q.data != nullptr;
    if (two && !q.is_plain(group)) return kNothing;
    if (p.kind == kLabels) return q.is_logits() && !r.weight ? kLabelsAndLogits : kNothing;
    if (!p.is_plain(group) || !target.is_plain) return kNothing;
    if (p.kind == kWeights && q.is_logits()) return kWeightsAndLogits;
    if (two && p.kind != q.kind) return kNothing;
    return p.kind == kLogits ? kBothLogits : p.kind == kProbs ? kBothProbs : kNothing;
  }
};

}  // namespace
}  // namespace torch_infotheory
