// vmap.cpp -- vmap of all row ops.
//
// The row ops accept any leading dimensions, so the batching rules move the batch dimension to the
// front.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "dispatch/batched.h"
#include "dispatch/distributions.h"
#include "dispatch/ops.h"
#include "dispatch/shapes.h"

namespace torch_infotheory {
namespace {

// The operands of a row op and, for backward, g and saved, some of which are batched.
struct BatchedCall {
  int64_t level;
  Batched p, q, weight, g, saved;
  c10::SymInt n = 0;

  BatchedCall(const Operands& x, const Tensor& grad, const Tensor& stats)
      : level(level_of({x.p, or_undefined(x.q), or_undefined(x.weight), grad, stats})),
        p(x.p, level),
        q(or_undefined(x.q), level),
        weight(or_undefined(x.weight), level),
        g(grad, level),
        saved(stats, level) {
    for (const Batched* b : {&p, &q, &weight, &g, &saved})
      if (b->batched) n = b->t.sym_size(0);
  }
  bool any() const {
    return p.batched || q.batched || weight.batched || g.batched || saved.batched;
  }
};

// The operands of the whole batch. 0-d samples get a class dimension of size 1.
struct WholeBatch {
  Tensor p;
  optional<Tensor> q, weight;
  bool is_scalar;

  WholeBatch(const BatchedCall& b, const Options& o)
      : p(b.p.along(b.n)), q(maybe(b.q.along(b.n))), weight(maybe(b.weight.t)) {
    is_scalar = operands().full(o).dim() == 1;
    if (!o.has_labels()) p = with_class(p);
    if (q) q = with_class(*q);
  }
  Operands operands() const { return {p, q, weight}; }
  Tensor with_class(const Tensor& t) const { return is_scalar ? t.unsqueeze(1) : t; }
  Tensor without_class(const Tensor& t) const { return is_scalar ? t.squeeze(1) : t; }
};

// Loops over samples, because a row op cannot have different class weights for each sample.
template <class F, class Call>
Tensor each_sample(const BatchedCall& b, Call call) {
  std::vector<Tensor> out;
  const int64_t n = b.n.guard_int(__FILE__, __LINE__);
  TORCH_CHECK(n > 0, F::name, ": vmap over no class weights at all");
  for (int64_t i = 0; i < n; ++i) {
    const auto sample = [&](const Batched& x) { return x.batched ? x.t.select(0, i) : x.t; };
    out.push_back(call(sample(b.p), maybe(sample(b.q)), maybe(sample(b.weight)), sample(b.g),
                       sample(b.saved)));
  }
  return at::stack(out);
}

Tensor sum_of_sample(const Tensor& v) {
  std::vector<int64_t> dims;
  for (int64_t d = 1; d < v.dim(); ++d) dims.push_back(d);
  return dims.empty() ? v : v.sum(dims);
}
// The divisor of the mean of one sample.
template <class F>
Tensor rows_of_sample(const Operands& x, const Options& o, ScalarType dtype) {
  if (o.has_labels()) return sum_of_sample(label_weights(x.p, x.weight, o.ignore_index, dtype));
  const auto rows = row_shape<F, c10::SymInt>(x.p, o.dim);
  c10::SymInt n = 1;
  for (size_t d = 1; d < rows.size(); ++d) n = n * rows[d];
  return at::full_symint({}, at::Scalar(n), x.p.options().dtype(dtype));
}
// The options after adding a leading batch dimension. `x` has that dimension.
Options shifted(const Options& o, const Tensor& x, int64_t reduction) {
  Options b = o;
  b.dim = at::maybe_wrap_dim(o.dim, x.dim() - 1) + 1;
  b.reduction = reduction;
  return b;
}

template <class F>
std::tuple<Tensor, Tensor> forward_batched(const Operands& x, const Options& o,
                                           optional<ScalarType> dtype) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const BatchedCall b(x, {}, {});
  if (!b.any()) return call_forward<F>(x, o, dtype);
  Tensor value, saved;
  if (b.weight.batched) {
    std::vector<Tensor> saved_samples;
    value = each_sample<F>(b, [&](const Tensor& ps, optional<Tensor> qs, optional<Tensor> ws,
                                  const Tensor&, const Tensor&) {
      auto [v, s] = call_forward<F>({ps, qs, ws}, o, dtype);
      saved_samples.push_back(s);
      return v;
    });
    saved = at::stack(saved_samples, 1);
  } else {
    const WholeBatch whole(b, o);
    const Operands all = whole.operands();
    const Options rows = shifted(o, all.full(o), o.reduction == kTerms ? kTerms : kNone);
    const ScalarType type = value_type(all, o, dtype);
    const ScalarType exact = o.is_reduced() && type != at::kDouble ? at::kFloat : type;
    std::tie(value, saved) = call_forward<F>(all, rows, exact);
    if (o.reduction == kTerms) value = whole.without_class(value);
    if (o.is_reduced()) value = sum_of_sample(value);
    if (o.reduction == kMean) value = value / rows_of_sample<F>(all, rows, exact);
    value = value.to(type);
    saved = saved.narrow(0, 0, saved_numbers<F>(o));  // sums of terms save fewer numbers
  }
  return {at::functorch::makeBatched(value, 0, b.level),
          at::functorch::makeBatched(saved, 1, b.level)};
}

template <class F>
Tensor backward_batched(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                        int64_t wrt) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const BatchedCall b(x, g, saved);
  if (!b.any()) return call_backward<F>(g, x, saved, o, wrt);
  Tensor out;
  if (b.weight.batched) {
    out = each_sample<F>(
        b, [&](const Tensor& ps, optional<Tensor> qs, optional<Tensor> ws, const Tensor& gs,
               const Tensor& ss) { return call_backward<F>(gs, {ps, qs, ws}, ss, o, wrt); });
  } else {
    const WholeBatch whole(b, o);
    const Operands all = whole.operands();
    const Options rows = shifted(o, all.full(o), o.is_elementwise() ? kTerms : kNone);
    Tensor bg = b.g.along(b.n);
    if (o.reduction == kTerms) bg = whole.with_class(bg);
    if (o.reduction == kMean) {
      bg = widened(bg);
      bg = bg / rows_of_sample<F>(all, rows, bg.scalar_type());
    }
    if (o.is_reduced()) {  // one number per sample, for each of its rows or terms
      const Tensor& full = all.full(o);
      const auto shape = o.is_elementwise() ? Shape<c10::SymInt>(full.sym_sizes())
                                            : row_shape<F, c10::SymInt>(full, rows.dim);
      for (size_t d = 1; d < shape.size(); ++d) bg = bg.unsqueeze(-1);
      bg = bg.expand_symint(shape);
    }
    out =
        whole.without_class(call_backward<F>(bg, all, b.saved.along(b.n).movedim(0, 1), rows, wrt));
  }
  return at::functorch::makeBatched(out, 0, b.level);
}

TORCH_LIBRARY_IMPL(torch_infotheory, FuncTorchBatched, m) {
  each_row_op([&](auto formula) {
    using F = typename decltype(formula)::type;
    register_row_op<F, &forward_batched<F>, &backward_batched<F>>(m);
  });
}

}  // namespace
}  // namespace torch_infotheory
