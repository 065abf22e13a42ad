// histogram_autograd.cpp -- autograd, forward mode and vmap of soft histograms.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "dispatch/batched.h"
#include "dispatch/histogram.h"
#include "dispatch/node.h"

namespace torch_infotheory {
namespace {

// The arguments that both ops share.
struct Placement {
  int64_t bins = 0, window = 0, order_x = 0, order_y = 0;
  auto fields() { return std::tie(bins, window, order_x, order_y); }
};
struct Variables {
  Tensor x, y, mask, range;

  Tensor table(const Tensor& weight, const Placement& p, int64_t more_x, int64_t more_y) const {
    return soft_histogram_op().call(x, y, maybe(weight), maybe(mask), range, p.bins, p.window,
                                    p.order_x + more_x, p.order_y + more_y);
  }
  Tensor gather(const Tensor& table, const Placement& p, int64_t more_x, int64_t more_y,
                ScalarType dtype) const {
    return soft_histogram_gather_op().call(x, y, maybe(mask), range, table, p.window,
                                           p.order_x + more_x, p.order_y + more_y, dtype);
  }
  // factor * gather(...) in the type of `like`; an undefined factor is 1.
  Tensor gather_times(const Tensor& factor, const Tensor& table, const Placement& p, int64_t more_x,
                      int64_t more_y, const Tensor& like) const {
    const ScalarType type = like.scalar_type();
    if (!factor.defined()) return gather(table, p, more_x, more_y, type);
    return (factor * gather(table, p, more_x, more_y, exact_type(x, y, factor))).to(type);
  }
};
Tensor times(const Tensor& a, const Tensor& b) { return a.defined() ? a * b : b; }

// Inputs: x, y, weight. Saved: these, mask and range.
struct HistogramBackward final : FormulaNode<HistogramBackward, Placement, 3, 5> {
  static constexpr bool is_traceable = true;
  std::string name() const override { return "SoftHistogramBackward"; }
  static variable_list run(const variable_list& g, const Tensors& t, const Placement& p,
                           const Needed& needed) {
    variable_list out(3);
    if (!g[0].defined()) return out;
    const Variables v{.x = t[0], .y = t[1], .mask = t[3], .range = t[4]};
    if (needed[0]) out[0] = v.gather_times(t[2], g[0], p, 1, 0, t[0]);
    if (needed[1]) out[1] = v.gather_times(t[2], g[0], p, 0, 1, t[1]);
    if (needed[2] && t[2].defined()) out[2] = v.gather(g[0], p, 0, 0, t[2].scalar_type());
    return out;
  }
};

// Inputs: x, y, table. Saved: these, mask and range.
struct GatherBackward final : FormulaNode<GatherBackward, Placement, 3, 5> {
  static constexpr bool is_traceable = true;
  std::string name() const override { return "SoftHistogramGatherBackward"; }
  static variable_list run(const variable_list& g, const Tensors& t, const Placement& p,
                           const Needed& needed) {
    variable_list out(3);
    if (!g[0].defined()) return out;
    const Variables v{.x = t[0], .y = t[1], .mask = t[3], .range = t[4]};
    if (needed[0]) out[0] = v.gather_times(g[0], t[2], p, 1, 0, t[0]);
    if (needed[1]) out[1] = v.gather_times(g[0], t[2], p, 0, 1, t[1]);
    if (needed[2]) out[2] = v.table(g[0], p, 0, 0).to(t[2].scalar_type());
    return out;
  }
};

template <class N>
NodePtr<N> node_of(const Tensor& x, const Tensor& y, const Tensor& third) {
  NodePtr<N> node;
  if (!torch::autograd::compute_requires_grad(x, y, third)) return node;
  node = make_node<N>();
  node->set_next_edges(torch::autograd::collect_next_edges(x, y, third));
  return node;
}
template <class N>
void attach(const NodePtr<N>& node, const typename N::Tensors& saved, const Placement& p,
            const Tensor& out) {
  if (!node) return;
  node->save(saved);
  node->options = p;
  torch::autograd::set_history(out, node);
  fire_creation_hooks(node);
}

// The primal and the tangent of an operand in forward mode.
struct Dual {
  Tensor primal, tangent;
  explicit Dual(const Tensor& t) : primal(t) {
    if (!has_tangent(t)) return;
    tangent = t._fw_grad(/*level=*/0);
    primal = t._fw_primal(/*level=*/0);
  }
};
void accumulate(Tensor& sum, const Tensor& term) { sum = sum.defined() ? sum + term : term; }
void set_tangent(const Tensor& out, const Tensor& tangent) {
  if (tangent.defined())
    out._set_fw_grad(tangent.to(out.scalar_type()), /*level=*/0, /*is_inplace_op=*/false);
}

Tensor histogram_autograd(c10::DispatchKeySet keys, const Tensor& x, const Tensor& y,
                          const optional<Tensor>& weight, const optional<Tensor>& mask,
                          const Tensor& range, int64_t bins, int64_t window, int64_t order_x,
                          int64_t order_y) {
  const Placement p{.bins = bins, .window = window, .order_x = order_x, .order_y = order_y};
  const Tensor w = or_undefined(weight), counts = or_undefined(mask);
  const auto node = node_of<HistogramBackward>(x, y, w);
  const Tensor out = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return soft_histogram_op().redispatch(keys & c10::after_autograd_keyset, x, y, weight, mask,
                                          range, bins, window, order_x, order_y);
  }();
  attach(node, {x, y, w, counts, range}, p, out);
  const Dual dx(x), dy(y), dw(w);
  const Variables v{.x = dx.primal, .y = dy.primal, .mask = counts, .range = range};
  Tensor tangent;
  if (dx.tangent.defined()) accumulate(tangent, v.table(times(dw.primal, dx.tangent), p, 1, 0));
  if (dy.tangent.defined()) accumulate(tangent, v.table(times(dw.primal, dy.tangent), p, 0, 1));
  if (dw.tangent.defined()) accumulate(tangent, v.table(dw.tangent, p, 0, 0));
  set_tangent(out, tangent);
  return out;
}

Tensor gather_autograd(c10::DispatchKeySet keys, const Tensor& x, const Tensor& y,
                       const optional<Tensor>& mask, const Tensor& range, const Tensor& table,
                       int64_t window, int64_t order_x, int64_t order_y, ScalarType dtype) {
  const Placement p{
      .bins = table.size(-1), .window = window, .order_x = order_x, .order_y = order_y};
  const Tensor counts = or_undefined(mask);
  const auto node = node_of<GatherBackward>(x, y, table);
  const Tensor out = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return soft_histogram_gather_op().redispatch(keys & c10::after_autograd_keyset, x, y, mask,
                                                 range, table, window, order_x, order_y, dtype);
  }();
  attach(node, {x, y, table, counts, range}, p, out);
  const Dual dx(x), dy(y), dt(table);
  const Variables v{.x = dx.primal, .y = dy.primal, .mask = counts, .range = range};
  Tensor tangent;
  if (dx.tangent.defined())
    accumulate(tangent, v.gather_times(dx.tangent, dt.primal, p, 1, 0, out));
  if (dy.tangent.defined())
    accumulate(tangent, v.gather_times(dy.tangent, dt.primal, p, 0, 1, out));
  if (dt.tangent.defined()) accumulate(tangent, v.gather(dt.tangent, p, 0, 0, dtype));
  set_tangent(out, tangent);
  return out;
}

// vmap adds rows. Operands without the batch dimension are expanded along it.
struct BatchedRows {
  int64_t level;
  c10::SymInt samples = 0;

  explicit BatchedRows(at::ArrayRef<Tensor> operands) : level(level_of(operands)) {
    for (const Tensor& t : operands)
      if (const Batched x(t, level); x.batched) samples = x.t.sym_size(0);
  }
  // Undefined stays undefined.
  Tensor rows(const Tensor& t) const {
    return !t.defined() || level < 0 ? t : Batched(t, level).along(samples).flatten(0, 1);
  }
  // `like` has the rows of one sample of the batch.
  Tensor result(const Tensor& rows, const Tensor& like) const {
    if (level < 0) return rows;
    const c10::SymInt shape[] = {samples, like.sym_size(0)};
    return at::functorch::makeBatched(rows.unflatten_symint(0, shape), 0, level);
  }
};

Tensor histogram_batched(const Tensor& x, const Tensor& y, const optional<Tensor>& weight,
                         const optional<Tensor>& mask, const Tensor& range, int64_t bins,
                         int64_t window, int64_t order_x, int64_t order_y) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const BatchedRows all({x, y, or_undefined(weight), or_undefined(mask), range});
  return all.result(
      soft_histogram_op().call(all.rows(x), all.rows(y), maybe(all.rows(or_undefined(weight))),
                               maybe(all.rows(or_undefined(mask))), all.rows(range), bins, window,
                               order_x, order_y),
      x);
}
Tensor gather_batched(const Tensor& x, const Tensor& y, const optional<Tensor>& mask,
                      const Tensor& range, const Tensor& table, int64_t window, int64_t order_x,
                      int64_t order_y, ScalarType dtype) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const BatchedRows all({x, y, or_undefined(mask), range, table});
  return all.result(soft_histogram_gather_op().call(
                        all.rows(x), all.rows(y), maybe(all.rows(or_undefined(mask))),
                        all.rows(range), all.rows(table), window, order_x, order_y, dtype),
                    x);
}

TORCH_LIBRARY_IMPL(torch_infotheory, Autograd, m) {
  m.impl(kSoftHistogram, &histogram_autograd);
  m.impl(kSoftHistogramGather, &gather_autograd);
}
TORCH_LIBRARY_IMPL(torch_infotheory, FuncTorchBatched, m) {
  m.impl(kSoftHistogram, &histogram_batched);
  m.impl(kSoftHistogramGather, &gather_batched);
}

}  // namespace
}  // namespace torch_infotheory
