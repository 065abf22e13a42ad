// pair.inl -- p and q of a team's rows, together: as blocks of probabilities, or for the common
// kinds as they lie in memory. A loss target has class weights and label smoothing applied.
//
// Knows sources and layout; must not know formulas. Read next: sums.inl.
#pragma once
#include "cpu/lanes.inl"

namespace torch_infotheory {
namespace {

// A loss target. Only formulas linear in p are given one: nothing here states log p.
// Class weights and label smoothing, applied to a block of p and to a block of its derivative.
template <class A>
struct Target {
  const A* weight;
  Smoothing smoothing;
  bool plain, dense;  // nothing to apply; anything besides the peak of a label

  Target(const Rows& r)
      : weight(r.classes ? static_cast<const A*>(r.weight) : nullptr),
        smoothing(r.label_smoothing, r.classes),
        plain(!r.weight && r.label_smoothing == 0),
        dense(r.p.kind != kLabels || r.label_smoothing != 0) {}

  // At one class per lane.
  TI_LANE Pack<double> weights_of(Indices places) const {
    return weight ? load_at(weight, places) : Pack<double>(1);
  }

  // to_i = w_i (kept to_i + spread)
  void apply(const Team& team, A* to, int64_t first, int64_t n, double kept, double spread) const {
    constexpr int width = Pack<A>::width;
    const Pack<A> a(kept), b(spread);
    for (int64_t i = 0; i < team.packs<A>(n); ++i) {
      const int64_t left = n - i * width;
      Pack<A> w(team.lanes_are_rows || left >= width ? 1 : 0);
      if (weight)
        w = team.lanes_are_rows
                ? Pack<A>(weight[first + i])
                : load_lanes<A>(weight + first + i * width, 1, left < width ? left : width, A(0));
      else if (!team.lanes_are_rows && left < width)
        w = first_lanes(Pack<A>(1), left);
      store(to + i * width, w * (a * load<A>(to + i * width) + b));
    }
  }
  void apply(const Team& team, Block<A>& p, int64_t first, int64_t n) const {
    if (!plain) apply(team, p.p, first, n, smoothing.kept, smoothing.spread);
  }
  void chain(const Team& team, A* d, int64_t first, int64_t n) const {
    if (!plain) apply(team, d, first, n, smoothing.kept, 0);
  }
};

// One probability for all classes of a stretch.
template <class A>
struct Constant {
  static constexpr Kind kind = kLabels;
  Pack<A> p;
  Walk walk;
  template <bool whole>
  TI_LANE Prob<Pack<A>> at(int64_t pack, Whole<whole>) const {
    const Pack<A> v = whole ? p : first_lanes(p, walk.lanes(pack));
    return {v, v};
  }
};

// p and q of the team's rows.
template <class A>
struct Pair {
  static constexpr bool fuses = TI_PACK_BYTES == 64 && sizeof(A) == sizeof(float);
  enum Fused { kNothing, kBothLogits, kBothProbs, kWeightsAndLogits, kLabelsAndLogits };

  const Rows& r;
  Team team;
  Source<A> p, q;
  Target<A> target;
  Fused fused;

  // Tiles for p and q: used where the rows are turned.
  Pair(const Rows& rows, bool lanes_are_rows, A* tile_p, A* tile_q)
      : r(rows),
        team(lanes_are_rows),
        p(rows, rows.p, team, tile_p),
        q(rows, rows.q, team, tile_q),
        target(rows),
        fused(fused_as()) {}

  // To as many rows as there are lanes for, from row j of a run on.
  void move_to(const Run& run, int64_t j) {
    team.take<A>(run.n - j);
    if (p.kind != kLabels) p.move_to(r, r.p, run.at.p + j * row_stride(r, r.p), team);
    if (r.q.data) q.move_to(r, r.q, run.at.q + j * row_stride(r, r.q), team);
  }
  bool has_tiles() const { return p.tile || q.tile; }
  void normalise(const Normalizers& zp, const Normalizers& zq) {
    p.normalise(zp, team);
    q.normalise(zq, team);
  }
  // visit(first, n) over the classes in blocks.
  template <class Visit>
  void each_stretch(Visit visit) const {
    torch_infotheory::each_stretch(r.classes, team.classes_per_block<A>(), visit);
  }
  // fold(p, q, packs, whole) for n classes: as they lie in memory where the formula asks for it and
  // the kinds are among the common ones, or else as blocks. Times of blocks relative to memory as
  // it lies, AMD EPYC with AVX-512, one thread: smoothed cross-entropy 1.34 to 1.46, KL 1.05
  // (backward 1.12), but entropy 0.95 and JS 0.8; and a formula that is fused compiles 10 s longer.
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
          return both(p.template stretch<kLogits>(team, first, n),
                      q.template stretch<kLogits>(team, first, n));
        case kBothProbs:
          return both(p.template stretch<kProbs>(team, first, n),
                      q.template stretch<kProbs>(team, first, n));
        case kWeightsAndLogits:
          return both(p.template stretch<kWeights>(team, first, n),
                      q.template stretch<kLogits>(team, first, n));
        case kLabelsAndLogits: {
          const auto y = q.template stretch<kLogits>(team, first, n);
          return f(Constant<A>{Pack<A>(target.smoothing.spread), y.of.walk}, y, y.packs(),
                   y.whole());
        }
        default:
          break;
      }
    }
    Block<A> a, b;
    if (p.kind != kLabels)
      p.fill(team, first, n, a);
    else
      for (int64_t i = 0; i < team.packs<A>(n) * Pack<A>::width; ++i) a.p[i] = 0;
    target.apply(team, a, first, n);
    if constexpr (arity == 2) q.fill(team, first, n, b);
    const int64_t packs = team.packs<A>(n);
    f(a, arity == 2 ? b : a, packs, packs);
  }

 private:
  Fused fused_as() const {
    const bool two = r.q.data != nullptr;
    if (two && !q.is_plain(team)) return kNothing;
    if (p.kind == kLabels) return q.is_logits() && !r.weight ? kLabelsAndLogits : kNothing;
    if (!p.is_plain(team) || !target.plain) return kNothing;
    if (p.kind == kWeights && q.is_logits()) return kWeightsAndLogits;
    if (two && p.kind != q.kind) return kNothing;
    return p.kind == kLogits ? kBothLogits : p.kind == kProbs ? kBothProbs : kNothing;
  }
};

}  // namespace
}  // namespace torch_infotheory
