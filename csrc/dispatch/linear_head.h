// linear_head.h -- the linear map from a block of hidden states to logits, and its gradients.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include <algorithm>
#include <vector>

#include "dispatch/cpu.h"
#include "dispatch/linear.h"

namespace torch_infotheory {
namespace {

// The rows that are not ignored, and the current block of them.
struct Block {
  Tensor index;  // undefined: no row is ignored
  int64_t rows, begin = 0, size = 0;

  Block(const Tensor& counts, int64_t all) : rows(all) {
    if (!counts.defined()) return;
    index = counts.nonzero().squeeze(1);
    rows = index.size(0);
    if (rows == all) index = Tensor();
  }
  Tensor select(const Tensor& t) const {
    return index.defined() ? t.index_select(0, index.narrow(0, begin, size))
                           : t.narrow(0, begin, size);
  }
  void store(Tensor& all, const Tensor& part) const {
    if (index.defined())
      all.index_copy_(0, index.narrow(0, begin, size), part.to(all.scalar_type()));
    else
      all.narrow(0, begin, size).copy_(part);
  }
  // The destination of `store`; 0 for ignored rows.
  Tensor output(at::IntArrayRef sizes, const at::TensorOptions& options) const {
    return index.defined() ? at::zeros(sizes, options) : at::empty(sizes, options);
  }
};

// The type of the factors of a product that accumulates in `exact`. 16-bit factors with float32
// accumulation are supported on CUDA and, for bfloat16, on some CPUs; elsewhere they are converted.
inline ScalarType type_of_factors(const Tensor& x, ScalarType exact) {
  const bool as_it_is =
      x.is_cuda() || (x.is_cpu() && x.scalar_type() == at::kBFloat16 && multiplies_bfloat16());
  return as_it_is && exact == at::kFloat ? x.scalar_type() : exact;
}

// Whether torch.set_float32_matmul_precision allows products of bfloat16 in place of float32.
inline bool rounds_factors() {
  return at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::MEDIUM;
}

// Whether gradients of logits can be written into memory of ours. Not under a mode, such as that of
// sharded classes, because it has to intercept the row op.
inline bool may_write_gradients(const Tensor& states) {
  return states.is_cpu() && !c10::impl::dispatch_mode_enabled();
}
// Whether the gradient of the logits of a block replaces them unless other gradients depend on
// them. The derivative of softcap needs both.
inline bool overwrites_logits(const LinearTensors& x, const LinearOptions& o) {
  return may_write_gradients(x[kStates]) && !o.softcap;
}

// Elements of a 16-bit weight that are converted at a time, so that they are still in the cache
// when they are multiplied.
constexpr int64_t kConvertedElements = int64_t(1) << 18;

// Hidden states, weight and bias of a linear map to logits, and their gradients. Factors are
// converted if necessary, the weight in parts.
class Head {
 public:
  Head(const LinearTensors& x, const LinearOptions& options, size_t first, const Block& block)
      : o(options),
        states(x[first]),
        weight(x[first + 1]),
        exact(exact_type(x)),
        factor(type_of_factors(states, exact)),
        positions(weight.dim() == 3 ? weight.size(1) : 0) {
    if (positions) weight = weight.flatten(0, 1);
    if (x[first + 2].defined()) bias = x[first + 2].flatten().to(exact);
    const auto like = weight.options().dtype(exact);
    buffer = at::empty({block.size, weight.size(0)}, like);
    if (may_write_gradients(states) &&
        (o.wants(first) || o.wants(first + 1) || o.wants(first + 2))) {
      // The derivative of softcap and the sum for a bias need the exact type.
      const bool as_factor =
          rounds_factors() && factor != exact && !o.softcap && !o.wants(first + 2);
      const bool two = o.wanted & kModelOperands && o.wanted & kTargetOperands;
      grad_logits = as_factor || two || !overwrites_logits(x, o)
                        ? at::empty(buffer.sizes(), like.dtype(as_factor ? factor : exact))
                        : buffer;
    }
    if (o.wants(first)) grad_states = block.output(states.sizes(), like);
    // Overwritten by the first block, accumulated by the others.
    if (o.wants(first + 1))
      grad_weight = block.rows ? at::empty(x[first + 1].sizes(), like)
                               : at::zeros(x[first + 1].sizes(), like);
    if (o.wants(first + 2)) grad_bias = at::zeros(x[first + 2].sizes(), like);
  }

  // The logits of a block, in the buffer.
  Tensor logits(const Block& block) {
    rows = block.select(states).to(factor);
    z = buffer.narrow(0, 0, block.size);
    const double alpha = 1 / (o.softcap ? o.softcap : o.temperature);
    each_part([&](int64_t first, const Tensor& part) {
      multiply(z.narrow(1, first, part.size(0)), rows, part.t(), 0, alpha);
    });
    if (bias.defined()) z.add_(bias, alpha);
    if (o.softcap) z.tanh_().mul_(o.softcap / o.temperature);
    return split_positions(z);
  }
  // Memory for the gradient of these logits, that of the logits where nothing else reads them. It
  // is reused by all blocks, because the first touch of fresh memory takes longer than the
  // gradient: 13 ms instead of 6 for 262 rows of 32,000 classes. Undefined if the op has to
  // allocate it.
  Tensor gradient_buffer() const {
    return grad_logits.defined() ? split_positions(grad_logits.narrow(0, 0, z.size(0))) : Tensor();
  }
  // Backpropagates the gradient of these logits. Overwrites it and the logits.
  void backward(const Block& block, const Tensor& grad) {
    Tensor g = grad.view(z.sizes());
    if (o.softcap) at::tanh_backward_out(g, g, z.mul_(o.temperature / o.softcap));
    const double alpha = 1 / o.temperature;
    if (grad_bias.defined()) grad_bias.add_(g.sum(0).view(grad_bias.sizes()), alpha);
    const Tensor parts = as_factors(g);  // one or two for each row
    const int64_t each = g.size(0) ? parts.size(0) / g.size(0) : 1;
    if (grad_weight.defined())
      multiply(grad_weight.view(weight.sizes()), parts.t(),
               each > 1 ? rows.repeat_interleave(each, 0) : rows, block.begin > 0, alpha);
    if (!grad_states.defined()) return;
    // The first part is enough here, because this gradient will be rounded to the same type.
    const Tensor factors = parts.view({g.size(0), each, parts.size(1)}).select(1, 0);
    Tensor gradient = at::empty({g.size(0), states.size(1)}, grad_states.options());
    each_part([&](int64_t first, const Tensor& part) {
      multiply(gradient, factors.narrow(1, first, part.size(0)), part, first > 0, alpha);
    });
    block.store(grad_states, gradient);
  }
  void append_gradients(std::vector<Tensor>& out) const {
    for (const Tensor& g : {grad_states, grad_weight, grad_bias})
      if (g.defined()) out.push_back(g);
  }

 private:
  const LinearOptions& o;
  Tensor states, weight, bias, buffer, grad_logits, converted, grad_states, grad_weight, grad_bias;
  Tensor rows, z;  // of the current block
  ScalarType exact, factor;
  int64_t positions;

  Tensor split_positions(const Tensor& t) const {
    return positions ? t.view({t.size(0), -1, positions}) : t;
  }
  // out = beta * out + alpha * a @ b
  static void multiply(Tensor out, const Tensor& a, const Tensor& b, double beta, double alpha) {
    const ScalarType type = out.scalar_type();
    if (a.scalar_type() == type)
      at::addmm_out(out, out, a, b, beta, alpha);
    else if (out.is_cpu())
      multiply_bfloat16(out, a, b, beta, alpha);
    else if (beta == 0)
      at::mm_out(out, a, b, type).mul_(alpha);
    else
      out.add_(at::mm(a, b, type), alpha);
  }
  // The gradient of the logits as a factor of products. It is rounded or, on the CPU unless torch
  // may round it to bfloat16, split in place into two rows for each: itself, rounded, and the rest.
  Tensor as_factors(const Tensor& g) const {
    if (g.scalar_type() == factor) return g;
    if (!g.is_cpu() || rounds_factors() || g.numel() == 0) return g.to(factor);
    const Tensor parts = g.contiguous();
    split_bfloat16(parts);
    return parts.view(factor).view({-1, g.size(1)});
  }
  template <class Visit>
  void each_part(Visit visit) {
    if (weight.scalar_type() == factor) return visit(0, weight);
    const int64_t all = weight.size(0),
                  most = std::max<int64_t>(
                      kConvertedElements / std::max<int64_t>(weight.size(1), 1), 1);
    if (!converted.defined())
      converted = at::empty({std::min(most, all), weight.size(1)}, weight.options().dtype(factor));
    int64_t first = 0;
    do {  // also if there are no classes: the product must write zeros
      const int64_t n = std::min(most, all - first);
      visit(first, converted.narrow(0, 0, n).copy_(weight.narrow(0, first, n)));
      first += most;
    } while (first < all);
  }
};

}  // namespace
}  // namespace torch_infotheory
