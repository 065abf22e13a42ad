// linear_composition.h -- `_linear_loss` as a composition, with the logits of all rows in memory.
//
// It serves forward mode, derivatives beyond the first and tensor subclasses.
#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "dispatch/distributions.h"
#include "dispatch/linear_rows.h"

namespace torch_infotheory {
namespace {

// Computes logits from hidden states and backpropagates through that. Ignored rows are set to 0, so
// that they contribute nothing to a product.
struct Composed {
  Tensor states, weight, z;
  double softcap, temperature;
  Composed(const Tensor& h, const Tensor& w, const Tensor& bias, const Tensor& counts,
           const LinearOptions& o)
      : states(widened(h)), weight(widened(w)), softcap(o.softcap), temperature(o.temperature) {
    if (counts.defined()) states = at::where(counts.unsqueeze(1), states, 0.);
    const auto flat = [](const Tensor& t, int64_t dims) {
      return t.dim() > dims ? t.flatten(0, 1) : t;
    };
    const Tensor b = bias.defined() ? flat(widened(bias), 1) : Tensor();
    z = at::linear(states, flat(weight, 2), maybe(b));
    if (softcap) z = (z / softcap).tanh() * softcap;
    if (temperature != 1) z = z / temperature;
    if (w.dim() == 3) z = z.view_symint({z.sym_size(0), w.sym_size(0), w.sym_size(1)});
  }
  Tensor grad_product(const Tensor& gz) const {
    Tensor g = gz;
    if (softcap) g = g * (1 - (z * (temperature / softcap)).square());
    if (temperature != 1) g = g / temperature;
    return g.flatten(1);
  }
  void append_gradients(const Tensor& gz, const LinearOptions& o, size_t first,
                        std::vector<Tensor>& out) const {
    const Tensor g = grad_product(gz);
    const auto like_weight = [&](const Tensor& t) {
      return weight.dim() == 3 ? t.unflatten_symint(0, weight.sym_sizes().slice(0, 2)) : t;
    };
    if (o.wants(first)) out.push_back(g.mm(weight.dim() == 3 ? weight.flatten(0, 1) : weight));
    if (o.wants(first + 1)) out.push_back(like_weight(g.t().mm(states)));
    if (o.wants(first + 2)) out.push_back(like_weight(g.sum(0)));
  }
};

template <class F>
struct Composition {
  const LinearTensors& x;
  const LinearOptions& o;
  Tensor counts;
  Composed model;
  optional<Composed> teacher;
  RowPair pair;

  Composition(const LinearTensors& operands, const LinearOptions& options)
      : x(operands),
        o(options),
        counts(counting_rows(x, o)),
        model(x[kStates], x[kWeight], x[kBias], counts, o) {
    Tensor target = x[kTarget];
    if (o.has_teacher()) {
      teacher.emplace(x[kTarget], x[kTargetWeight], x[kTargetBias], counts, o);
      target = teacher->z;
    } else if (target.defined() && !o.has_labels()) {
      if (counts.defined()) target = at::where(counts.unsqueeze(1), target, 0.);
      if (divides_target()) target = tempered(target, o.temperature);
    }
    pair = RowPair::make<F>(x, o, model.z, target);
  }
  bool divides_target() const { return o.target_kind == kLogits && o.temperature != 1; }

  Tensor value(ScalarType dtype) const {
    const auto call = [&](int64_t reduction, ScalarType type) {
      return RowLoss<F>::composed(pair, o.row_options(reduction), type);
    };
    if (!x[kMask].defined()) return call(o.reduction, dtype);
    Tensor v = at::where(counts, call(kNone, exact_type(x)), 0.);
    if (o.reduction != kNone) v = v.sum();
    if (o.reduction == kMean) v = v / divisor(x, o);
    return v.to(dtype);
  }

  std::vector<Tensor> gradients(const Tensor& grad) const {
    const Options rows = o.row_options(kNone);
    const auto [value, saved] = RowLoss<F>::forward(pair, rows, exact_type(x));
    Tensor g = widened(grad);
    if (o.reduction == kMean) g = g / divisor(x, o);
    if (o.reduction != kNone) g = g.expand_symint(value.sym_sizes());
    if (counts.defined()) g = at::where(g.dim() == 2 ? counts.unsqueeze(1) : counts, g, 0.);
    // clang < 16 cannot capture a binding.
    const auto backward = [&, &saved = saved](bool to_model) {
      return RowLoss<F>::composed_backward(g, pair, saved, rows, to_model != bool(o.model_is_p));
    };
    std::vector<Tensor> out;
    if (o.wanted & kModelOperands) model.append_gradients(backward(true), o, kStates, out);
    if (teacher && o.wanted & kTargetOperands)
      teacher->append_gradients(backward(false), o, kTarget, out);
    else if (o.wants(kTarget))
      out.push_back(divides_target() ? backward(false) / o.temperature : backward(false));
    each_wanted(o, [&, i = 0](size_t operand) mutable {
      out[i] = out[i].to(x[operand].scalar_type());
      ++i;
    });
    return out;
  }
};

}  // namespace
}  // namespace torch_infotheory
