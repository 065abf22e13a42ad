// maps.h -- values and derivatives of self-information and pointwise mutual information in ATen.
//
// They write as much as they read, so a kernel would gain little. Backward recomputes what it needs
// from the input.
#pragma once
#include "dispatch/reference.h"

namespace torch_infotheory {
namespace {

// Sums over the class dimensions one by one, because such a sum does not depend on the number of
// threads.
inline Tensor sum_of_classes(Tensor t, const std::vector<int64_t>& dims) {
  for (auto d = dims.rbegin(); d != dims.rend(); ++d) t = t.sum(*d, /*keepdim=*/true);
  return t;
}

template <class F>
  requires is_map<F>
struct Reference<F> {
  Options o;
  std::vector<int64_t> dims;
  ScalarType memory;
  Prob<Lane> x{Lane(0), Lane(0)};
  Tensor impossible;

  Reference(const Operands& operands, const Options& options)
      : o(options), memory(operands.p.scalar_type()) {
    const int64_t rank = operands.p.dim();
    for (int64_t d = 0; d < rank; ++d)
      if (is_class_dim<F>(d, wrapped_dim(operands.p, o.dim), rank)) dims.push_back(d);
    if (dims.empty()) dims.push_back(0);
    x = probability(operands.p, Kind(o.p_kind), dims);
    if constexpr (is_table<F>) x = stop_gradient_at_zero(x);
    impossible = x.log.t == -INFINITY;
  }

  struct Marginals {
    Tensor lx, ly;
  };
  Marginals marginals() const {
    const auto log_sum =
        [&](int64_t dim) {  // directly for probabilities; without underflow for logarithms
          if (o.p_kind == kProbs) return log(Lane(x.p.t.sum(dim, true))).t;
          // Not logsumexp, which needs sizes that a tracer may not know.
          const Tensor empty = impossible.all(dim, true), some = at::where(empty, 0., x.log.t),
                       high = some.detach().amax(dim, true);
          return at::where(empty, -INFINITY, high + (some - high).exp().sum(dim, true).log());
        };
    return {log_sum(-1), log_sum(-2)};
  }
  // Finite in impossible cells, whose results are replaced by a limit.
  Tensor log_p() const { return at::where(impossible, -1., x.log.t); }
  Tensor log_marginals(const Marginals& m) const { return at::where(impossible, 0., m.lx + m.ly); }

  Tensor value(ScalarType dtype) const {
    Tensor v;
    if constexpr (__is_same(F, SelfInformation)) {
      v = at::rsub(x.log.t * o.scale, 0);  // 0 - log 1 is 0, but -log 1 is -0
    } else {
      const Tensor lxy = log_p(), pmi = lxy - log_marginals(marginals());
      if constexpr (__is_same(F, NormalizedPmi)) {
        const Tensor certain = lxy == 0;
        v = at::where(impossible, -1.,
                      at::where(certain, 1., pmi / at::where(certain, 1., lxy.neg())));
      } else {
        v = at::where(impossible, -INFINITY, pmi * o.scale);
      }
    }
    return v.to(dtype).contiguous();
  }

  // w = d sum(g value) / d log p, including the dependence of the marginals on their cells.
  Tensor by_log_p(const Tensor& g) const {
    if constexpr (__is_same(F, SelfInformation)) return g * -o.scale;
    const Marginals m = marginals();
    Tensor own = at::where(impossible, 0., g),
           through = own;  // factors of d log p(x,y) and of d -(log p(x) + log p(y))
    if constexpr (__is_same(F, NormalizedPmi)) {  // (log p(x) + log p(y)) / log p(x,y) - 1
      const Tensor lxy = log_p(), certain = lxy == 0, divisor = at::where(certain, 1., lxy);
      through = at::where(certain, 0., -own / divisor);
      own = through * log_marginals(m) / divisor;
    } else {
      own = own * o.scale;
      through = own;
    }
    // p(x,y) / p(x), the fraction of a cell in its marginal.
    const auto part_of = [&](const Tensor& marginal) {
      return at::where(impossible, 0., (log_p() - marginal).exp());
    };
    return own - part_of(m.lx) * through.sum(-1, true) - part_of(m.ly) * through.sum(-2, true);
  }
  Tensor gradient(const Tensor& grad, bool) const {
    const Tensor w = by_log_p(widened_like(grad, x.log.t));
    Tensor dx;
    if (o.p_kind == kLogits) {
      dx = w - x.p.t * sum_of_classes(w, dims);
    } else if (o.p_kind == kLogProbs) {
      dx = at::where(at::isnan(x.log.t), x.log.t, w);
    } else {
      dx = at::where(impossible, 0., w / at::where(impossible, 1., x.p.t));
    }
    return dx.to(memory).contiguous();
  }
};

}  // namespace
}  // namespace torch_infotheory
