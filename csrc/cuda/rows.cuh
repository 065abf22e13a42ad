// rows.cuh -- the kernels that reduce the rows of a formula.
//
// forward_rows   a team reduces a row, or a part of a long one
// merge_parts    the parts of a row, in their order
// refine_rows    the divergences that came out small, again in double and by the centred term
//
// Memory is read once where the formula is linear. Otherwise a row stays in shared memory as far as
// it fits. Knows sources and the names of a formula's parts; must not know any formula by name, or
// tensors. Read next: gradients.cuh.
#pragma once
#include "cuda/labels.cuh"

namespace torch_infotheory {
namespace {

// So that a processor is shared by as many blocks as leave the registers to do without spilling.
template <class F, class A, int type, int p_kind>
constexpr int kBlocksToShare = sizeof(A) == sizeof(double)          ? 1
                               : type == kAny || !F::linear         ? 2
                               : F::arity == 2 && p_kind != kLabels ? 3
                                                                    : 4;

template <class A>
__device__ __forceinline__ void store_partial(const DeviceRows& d, int64_t unit,
                                              const Moments<A>& m) {
  d.partials[unit] = {m.high_p, m.high_q, m.p, m.q, m.value, 0, 0};
}
template <class A>
__device__ __forceinline__ void store_partial(const DeviceRows& d, int64_t unit, const Sums<A>& s) {
  d.partials[unit] = {0, 0, s.p, s.q, s.value, s.d_lp, s.d_lq};
}

// Where a part is all there is of a row, or elements have no rows; else for merge_parts.
template <class F, class S>
__device__ __forceinline__ void leave(const DeviceRows& d, int64_t unit, const Part& part,
                                      const S& sums, const Outcome<double>& out) {
  if (d.rows.elementwise)
    d.rows.row_values[unit] = out.value;
  else if (d.geometry.parts > 1)
    store_partial(d, unit, sums);
  else
    finish<F>(d, part.row, part.at, out);
}

// The log-normalisers of a row's operands, in every thread of its team; false where they are left
// to merge_parts.
template <class F, Parking parking, int at_once, class Both>
__device__ __forceinline__ bool normalise(const DeviceRows& d, const Team& team, int64_t unit,
                                          bool there, const Part& part, Both& rows,
                                          Outcome<double>& out) {
  if (!rows.p.is_logits() && !rows.q.is_logits()) return true;
  if (d.normalised) {
    if (there) load_normalizers(d.rows, part.row, out);
  } else {
    ThreadMoments<typename Both::Number> m(rows.p.is_logits(), rows.q.is_logits());
    sweep<parking, at_once>(team, rows, [&](const auto&, const auto& x, const auto& y) {
      if (rows.p.is_logits()) add_mass(m.high_p, m.p, x);
      if (rows.q.is_logits()) add_mass(m.high_q, m.q, y);
    });
    combine<F, false, true>(team, m);
    if (d.geometry.parts > 1) {
      if (there && team.rank == 0) store_partial(d, unit, m);
      return false;
    }
    out = outcome_of<F>(d.rows, m);
  }
  rows.p.normalise(out.high_p, out.log_p);
  rows.q.normalise(out.high_q, out.log_q);
  return true;
}

template <class F, class A, int type, int p_kind, int q_kind>
__global__ void __launch_bounds__(kMostThreads, kBlocksToShare<F, A, type, p_kind>)
    forward_rows(const __grid_constant__ DeviceRows d) {
  using Both = Pair<A, type, p_kind, q_kind, F::arity == 2>;
  constexpr bool any = type == kAny, p_is_read = p_kind != kLabels;
  constexpr int at_once = F::arity == 2 && p_is_read ? 1 : 2;  // 32 bytes in flight for each thread
  TI_DYNAMIC_SHARED(shared);
  const Team team(d.geometry.lanes);
  const Target<A> target(d.rows);
  team.each(d.rows.rows * d.geometry.parts, [&](int64_t unit, bool there) {
    Part part = part_of(d, unit, there);
    if (!Label(d.rows, part.at, there).counts || d.rows.picks()) part.classes = 0;
    Both rows(d.rows.p, d.rows.q, part);
    if constexpr (F::linear) {
      ThreadMoments<A> m(rows.p.is_logits(), F::arity == 2 && rows.q.is_logits());
      if (p_is_read && (!any || target.dense))
        sweep<Parking::kNone, at_once>(team, rows,
                                       [&](const auto& at, const auto& x, const auto& y) {
                                         add<F>(m, rows, target, part.first, at, x, y);
                                       });
      else
        sweep<Parking::kNone, at_once>(team, rows, [&](const auto&, const auto&, const auto& y) {
          if (rows.q.is_logits()) add_mass(m.high_q, m.q, y);
        });
      combine<F, p_is_read, p_is_read>(team, m);
      if (there && team.rank == 0) leave<F>(d, unit, part, m, outcome_of<F>(d.rows, m));
    } else {
      if (!any) rows.park_in(shared, team, d.geometry.parked);
      Outcome<double> out = {};
      if (!normalise<F, any ? Parking::kNone : Parking::kKeep, at_once>(d, team, unit, there, part,
                                                                        rows, out))
        return;
      Sums<A> s;
      sweep<any ? Parking::kNone : Parking::kKept, 1>(
          team, rows,
          [&](const auto&, const auto& x, const auto& y) { add_terms<F, any>(s, rows, x, y); });
      combine(team, s);
      if (!there || team.rank > 0) return;
      add_terms(out, d.rows, s);
      leave<F>(d, unit, part, s, out);
    }
  });
}

// What is summed of a row whose divergence came out small, in double.
struct Refined : Sums<double> {
  double centred = 0;
  Refined() = default;
  __device__ __forceinline__ explicit Refined(const PartOfRow& x)
      : Sums<double>(x), centred(x.high_p) {}
  __device__ __forceinline__ void take(const Refined& x) {
    Sums<double>::take(x);
    centred += x.centred;
  }
};
__device__ __forceinline__ void combine(const Team& team, Refined& s) {
  combine(team, static_cast<Sums<double>&>(s));
  double centred[] = {s.centred};
  combine<1>(team, centred, Sum());
  s.centred = centred[0];
}
// The value and the totals of a row once more; its normalisers stay.
template <class F>
__device__ __forceinline__ void finish_refined(const DeviceRows& d, int64_t row, const Refined& s) {
  const Rows& r = d.rows;
  Outcome<double> out = {};
  add_terms(out, r, s);
  if constexpr (F::linear) {
    out.d_lp = out.value + out.mass_p * F::score(1., 0.);
    out.d_lq = out.mass_p * F::score(0., 1.);
  }
  if (totals_agree(r, out.mass_p, out.mass_q, 0)) out.value = s.centred;
  r.saved_of(0, kTotal)[row] = out.d_lp;
  r.saved_of(1, kTotal)[row] = out.d_lq;
  store_value(d, row, locate(d, row), out.value);
}

// The normalizers of the first reading are good enough: an error of z moves all of log p alike, and
// the centred sum feels its square. Rows that are not small cost a look.
template <class F>
__global__ void __launch_bounds__(kMostThreads, 1)
    refine_rows(const __grid_constant__ DeviceRows d) {
  using Both = Pair<double, kAny, kAny, kAny, true>;
  constexpr int n = Both::n;
  const Team team(d.geometry.lanes);
  const Rows& r = d.rows;
  team.each(r.rows * d.geometry.parts, [&](int64_t unit, bool there) {
    Part part = part_of(d, unit, there);
    const bool small = there && d.small[part.row];
    if (!small) part.classes = 0;
    Both rows(d.rows.p, d.rows.q, part);
    Outcome<double> z = {};
    if (small) load_normalizers(r, part.row, z);
    rows.p.normalise(z.high_p, z.log_p);
    rows.q.normalise(z.high_q, z.log_q);
    Refined s;
    sweep<Parking::kNone, 1>(team, rows, [&](const auto&, const auto& x, const auto& y) {
      Prob<double> a[n], b[n];
      rows.p.probabilities(x, a);
      rows.q.probabilities(y, b);
#pragma unroll
      for (int k = 0; k < n; ++k) {
        s.template add<F, true>(a[k], b[k]);
        s.centred += F::centred(a[k], b[k]);
      }
    });
    combine(team, s);
    if (!small || team.rank > 0) return;
    if (d.geometry.parts > 1)
      d.partials[unit] = {s.centred, 0, s.p, s.q, s.value, s.d_lp, s.d_lq};
    else
      finish_refined<F>(d, part.row, s);
  });
}

// The parts of a row in one warp, whose lanes take them in turn; the same in all its lanes.
template <class S>
__device__ __forceinline__ void take_parts(const DeviceRows& d, const Team& team, int64_t row,
                                           bool there, S& sums) {
  const PartOfRow* const parts = d.partials + row * d.geometry.parts;
  for (int64_t i = team.rank; there && i < d.geometry.parts; i += team.lanes)
    sums.take(S(parts[i]));
}
enum class Merge { kMoments, kSums, kRefined };

template <class F, Merge what>
__global__ void __launch_bounds__(kFewThreads, 4)
    merge_parts(const __grid_constant__ DeviceRows d) {
  const Team team(kWarp);
  const Rows& r = d.rows;
  team.each(r.rows, [&](int64_t row, bool there) {
    const bool leads = there && team.rank == 0;
    if constexpr (what == Merge::kMoments) {
      ThreadMoments<double> m(r.p.kind == kLogits, r.q.kind == kLogits);
      const PartOfRow* const parts = d.partials + row * d.geometry.parts;
      for (int64_t i = team.rank; there && i < d.geometry.parts; i += team.lanes)
        m.template take<F>(ThreadMoments<double>(parts[i]));
      combine<F, F::linear, true>(team, m);
      if (!leads) return;
      if constexpr (F::linear) {
        finish<F>(d, row, locate(d, row), outcome_of<F>(r, m));
      } else {
        save_normalizers(r, row, outcome_of<F>(r, m));
      }
    } else if constexpr (what == Merge::kSums) {
      Sums<double> s;
      take_parts(d, team, row, there, s);
      combine(team, s);
      if (!leads) return;
      Outcome<double> out = {};
      if (d.normalised) load_normalizers(r, row, out);
      add_terms(out, r, s);
      finish<F>(d, row, locate(d, row), out);
    } else {
      Refined s;
      there &= there && d.small[row];
      take_parts(d, team, row, there, s);
      combine(team, s);
      if (there && team.rank == 0) finish_refined<F>(d, row, s);
    }
  });
}

}  // namespace
}  // namespace torch_infotheory
