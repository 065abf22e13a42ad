// linear.cpp -- losses from hidden states, a block of rows at a time: the kernel of `_linear_loss`
// for every device, and its shape rules.
//
// Of each block: the logits by a matrix product into a buffer, the row op forward and backward, and
// the products that carry the gradient on. The products are ATen's, but for those of bfloat16 on some
// CPUs (cpu.h), and all else is the row ops', so that one text serves all devices and formulas. Knows
// tensors; must not know how a row is reduced. Read first: linear.h.
#include "dispatch/linear.h"

#include <ATen/Context.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/library.h>

#include "dispatch/cpu.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

// What the logits of a block may take, in bytes, unless it would have fewer rows than kFewRows.
// Each block reads and writes the whole gradient of the weight, at the price of multiplying 8 rows on
// a CPU and more where products are faster, so that blocks are as large as memory allows rather than
// as small as a cache.
constexpr int64_t kBlockBytes = int64_t(32) << 20, kFewRows = 16;
// Elements of a weight of 16 bits that are converted at a time, to be multiplied from the cache.
constexpr int64_t kConvertedElements = int64_t(1) << 18;

// From sizes alone, so that results repeat: blocks of equal size, but for the last.
int64_t rows_of_block(int64_t rows, int64_t logits, ScalarType type, int64_t asked) {
  if (asked > 0) return std::max<int64_t>(std::min(asked, rows), 1);
  const int64_t bytes = std::max<int64_t>(logits * int64_t(c10::elementSize(type)), 1);
  const int64_t most = std::max(kBlockBytes / bytes, kFewRows);
  const int64_t blocks = std::max<int64_t>((rows + most - 1) / most, 1);
  return std::max<int64_t>((rows + blocks - 1) / blocks, 1);
}

// The rows that count, and the block of them at hand.
struct Block {
  Tensor index;  // undefined: all rows count
  int64_t rows, begin = 0, size = 0;

  Block(const Tensor& counts, int64_t all) : rows(all) {
    if (!counts.defined()) return;
    index = counts.nonzero().squeeze(1);
    rows = index.size(0);
    if (rows == all) index = Tensor();
  }
  Tensor of(const Tensor& t) const {
    return index.defined() ? t.index_select(0, index.narrow(0, begin, size))
                           : t.narrow(0, begin, size);
  }
  void put(Tensor& all, const Tensor& part) const {
    if (index.defined())
      all.index_copy_(0, index.narrow(0, begin, size), part.to(all.scalar_type()));
    else
      all.narrow(0, begin, size).copy_(part);
  }
  // For `put`; what does not count is 0.
  Tensor all(at::IntArrayRef sizes, const at::TensorOptions& options) const {
    return index.defined() ? at::zeros(sizes, options) : at::empty(sizes, options);
  }
};

// The type in which factors are multiplied and accumulated in `exact`: 16 bits are, in float32, on
// CUDA and, if they are bfloat16, on CPUs that have such products; elsewhere they are converted.
ScalarType type_of_factors(const Tensor& x, ScalarType exact) {
  const bool as_it_is =
      x.is_cuda() || (x.is_cpu() && x.scalar_type() == at::kBFloat16 && multiplies_bfloat16());
  return as_it_is && exact == at::kFloat ? x.scalar_type() : exact;
}

// Whether torch.set_float32_matmul_precision allows products of bfloat16 in place of float32.
bool rounds_factors() {
  return at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::MEDIUM;
}

// Hidden states and the linear map that makes logits of them, and the gradients by all three.
// Factors that have to be converted are, the weight in parts.
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
    // Not under a mode, such as that of sharded classes, which has to see the op that it replaces.
    if (states.is_cpu() && !c10::impl::dispatch_mode_enabled() &&
        (o.wants(first) || o.wants(first + 1) || o.wants(first + 2))) {
      // The chain through a softcap and the sum for a bias are exact.
      const bool as_factor = rounds_factors() && !o.softcap && !o.wants(first + 2);
      by_logits = at::empty(buffer.sizes(), like.dtype(as_factor ? factor : exact));
    }
    if (o.wants(first)) by_states = block.all(states.sizes(), like);
    // The first block writes, the others add to it.
    if (o.wants(first + 1))
      by_weight = block.rows ? at::empty(x[first + 1].sizes(), like)
                             : at::zeros(x[first + 1].sizes(), like);
    if (o.wants(first + 2)) by_bias = at::zeros(x[first + 2].sizes(), like);
  }

  // Of the rows of a block, in the buffer.
  Tensor logits(const Block& block) {
    rows = block.of(states).to(factor);
    z = buffer.narrow(0, 0, block.size);
    const double alpha = 1 / (o.softcap ? o.softcap : o.temperature);
    each_part([&](int64_t first, const Tensor& part) {
      multiply(z.narrow(1, first, part.size(0)), rows, part.t(), 0, alpha);
    });
    if (bias.defined()) z.add_(bias, alpha);
    if (o.softcap) z.tanh_().mul_(o.softcap / o.temperature);
    return of_positions(z);
  }
  // For the gradient by these logits, and kept from block to block, because the first touch of
  // fresh memory takes longer than the gradient: 13 ms instead of 6 for 262 rows of 32,000 classes.
  // Undefined where the op has to make it.
  Tensor gradient_buffer() const {
    return by_logits.defined() ? of_positions(by_logits.narrow(0, 0, z.size(0))) : Tensor();
  }
  // The chain from a gradient by these logits on, which are gone after it.
  void backward(const Block& block, const Tensor& gradient_by_logits) {
    Tensor g = gradient_by_logits.view(z.sizes());
    if (o.softcap) at::tanh_backward_out(g, g, z.mul_(o.temperature / o.softcap));
    const double alpha = 1 / o.temperature;
    if (by_bias.defined()) by_bias.add_(g.sum(0).view(by_bias.sizes()), alpha);
    const Tensor factors = as_factors(g);
    const bool two = factors.size(0) > g.size(0);
    if (by_weight.defined())
      multiply(by_weight.view(weight.sizes()), factors.t(), two ? rows.repeat({2, 1}) : rows,
               block.begin > 0, alpha);
    if (!by_states.defined()) return;
    Tensor gradient = at::empty({factors.size(0), states.size(1)}, by_states.options());
    each_part([&](int64_t first, const Tensor& part) {
      multiply(gradient, factors.narrow(1, first, part.size(0)), part, first > 0, alpha);
    });
    if (two) gradient = gradient.view({2, block.size, -1}).sum(0);
    block.put(by_states, gradient);
  }
  void gradients(std::vector<Tensor>& into) const {
    for (const Tensor& g : {by_states, by_weight, by_bias})
      if (g.defined()) into.push_back(g);
  }

 private:
  const LinearOptions& o;
  Tensor states, weight, bias, buffer, by_logits, converted, by_states, by_weight, by_bias;
  Tensor rows, z;  // of the block at hand
  ScalarType exact, factor;
  int64_t positions;

  Tensor of_positions(const Tensor& t) const {
    return positions ? t.view({t.size(0), -1, positions}) : t;
  }
  // out = beta out + alpha a b
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
  // The gradient by logits as factors of a product: converted or, on the CPU unless torch may round
  // it to bfloat16, as two matrices below each other, whose sum it is, in the memory of the logits.
  Tensor as_factors(const Tensor& g) {
    if (g.scalar_type() == factor) return g;
    if (!g.is_cpu() || rounds_factors() || g.numel() == 0) return g.to(factor);
    const Tensor both = buffer.view(factor).view({-1, g.size(1)}).narrow(0, 0, 2 * g.size(0));
    split_bfloat16(g, both.narrow(0, 0, g.size(0)), both.narrow(0, g.size(0), g.size(0)));
    return both;
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
    do {  // of no classes too, where what is multiplied comes to 0
      const int64_t n = std::min(most, all - first);
      visit(first, converted.narrow(0, 0, n).copy_(weight.narrow(0, first, n)));
      first += most;
    } while (first < all);
  }
};

// Before anything is multiplied. On CUDA, where it would wait for the device, kernels assert it.
void check_labels(const LinearTensors& x, const LinearOptions& o) {
  const Tensor& labels = x[kTarget];
  if (!o.has_labels() || !labels.is_cpu()) return;
  const auto wrong = first_outside(labels, x[kWeight].size(0), o.ignore_index);
  TORCH_CHECK_INDEX(!wrong, "Target ", wrong.value_or(0), " is out of bounds.");
}

// Without `g` the value, and the gradients of the sum; with it, one number per distribution, the
// gradients alone.
template <class F>
LinearResults in_blocks(const LinearTensors& x, const LinearOptions& o, const Tensor& g) {
  const ScalarType exact = exact_type(x), widest = widest_type(x[kStates].device());
  const auto options = x[kStates].options().dtype(exact);
  const int64_t all = x[kStates].size(0);
  check_labels(x, o);
  Block block(counting_rows(x, o), all);
  const int64_t most = rows_of_block(
      block.rows, x[kWeight].numel() / std::max<int64_t>(x[kWeight].size(-1), 1), exact, o.chunk);
  block.size = std::min(most, block.rows);
  Head model(x, o, kStates, block);
  optional<Head> teacher;
  if (o.has_teacher()) teacher.emplace(x, o, kTarget, block);
  const bool divides =
      !teacher && x[kTarget].defined() && o.target_kind == kLogits && o.temperature != 1;

  const bool sums = !g.defined() && o.reduction != kNone;
  const Options rows = o.of_rows(sums ? kSum : kNone);
  Tensor value = sums ? at::zeros({}, options.dtype(widest))
                      : block.all(shape_of_values<int64_t>(x, o), options);
  Tensor by_target;
  const bool by_literal = !teacher && o.wants(kTarget);
  if (by_literal) by_target = block.all(x[kTarget].sizes(), options);

  for (; block.begin < block.rows; block.begin += most) {
    block.size = std::min(most, block.rows - block.begin);
    Tensor target = teacher                ? teacher->logits(block)
                    : x[kTarget].defined() ? block.of(x[kTarget])
                                           : Tensor();
    if (by_literal) target = target.to(exact);  // so that its gradient is rounded once
    if (divides) target = target / o.temperature;
    const RowPair pair = RowPair::of<F>(x, o, model.logits(block), target);
    const auto [v, saved] = RowLoss<F>::forward(pair, rows, sums ? widest : exact);
    if (sums)
      value.add_(v);
    else
      block.put(value, v);
    const Tensor by_value = g.defined() ? block.of(g) : at::ones_like(v);
    // By the logits of the model, or by what the target gives. (clang below 16 captures no binding.)
    const auto by = [&, &saved = saved](bool of_model, const Tensor& out) {
      const int64_t wrt = of_model != bool(o.model_is_p);
      if constexpr (is_among<F>(RowFormulas{}))
        if (out.defined()) {
          const auto write = gradient_writer_cpu(index_of<F>(RowFormulas{}));
          write(by_value, pair.operands(), saved, rows, wrt, out);
          return out;
        }
      return RowLoss<F>::backward(by_value, pair, saved, rows, wrt);
    };
    const Tensor by_model = o.wanted & kOfModel ? by(true, model.gradient_buffer()) : Tensor();
    const Tensor out = teacher ? teacher->gradient_buffer() : Tensor();
    const Tensor by_other = o.wanted & kOfTarget ? by(false, out) : Tensor();
    if (by_model.defined()) model.backward(block, by_model);
    if (by_other.defined() && teacher)
      teacher->backward(block, by_other);
    else if (by_other.defined())
      block.put(by_target, divides ? by_other / o.temperature : by_other);
  }
  LinearResults results{value, {}};
  auto& gradients = std::get<1>(results);
  model.gradients(gradients);
  if (teacher) teacher->gradients(gradients);
  if (by_target.defined()) gradients.push_back(by_target);
  return results;
}

LinearResults run(const LinearTensors& x, const LinearOptions& o, const Tensor& g) {
  check_linear(x);
  // A backward pass may run under autocast, which must not change its products.
  const c10::impl::ExcludeDispatchKeyGuard below(c10::autocast_dispatch_keyset);
  return with_formula(
      o, [&](auto formula) { return in_blocks<typename decltype(formula)::type>(x, o, g); });
}

LinearResults forward(at::TensorList operands, at::IntArrayRef ints, at::ArrayRef<double> floats,
                      ScalarType dtype) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  auto [value, gradients] = run(x, o, {});
  Tensor inverse;
  if (o.reduction == kMean) {
    inverse = divisor(x, o).reciprocal_();
    value = value * inverse;
    inverse.masked_fill_(inverse.isinf(), 0);  // nothing counts: no gradient, though no value
  } else if (!gradients.empty()) {
    inverse = at::ones({}, value.options());
  }
  if (!gradients.empty()) gradients.insert(gradients.begin(), inverse);
  return {value.to(dtype), gradients};
}

std::vector<Tensor> backward(const Tensor& g, at::TensorList operands, at::TensorList gradients,
                             at::IntArrayRef ints, at::ArrayRef<double> floats) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  std::vector<Tensor> out;
  if (gradients.empty()) {
    Tensor each = widened(g);
    if (o.reduction == kMean) each = each / divisor(x, o);
    if (o.reduction != kNone) each = each.expand(shape_of_values<int64_t>(x, o));
    out = std::get<1>(run(x, o, each));
  } else {
    const Tensor factor = gradients[0] * g;
    for (const Tensor& t : gradients.slice(1)) out.push_back(t * factor);
  }
  each_wanted(o, [&, i = 0](size_t operand) mutable {
    out[i] = out[i].to(x[operand].scalar_type());
    ++i;
  });
  return out;
}

LinearResults forward_meta(at::TensorList operands, at::IntArrayRef ints,
                           at::ArrayRef<double> floats, ScalarType dtype) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  check_linear(x);
  const auto options = x[kStates].options();
  const auto shape = shape_of_values<c10::SymInt>(x, o);
  LinearResults out{
      at::empty_symint(o.reduction == kNone ? shape : Shape<c10::SymInt>{}, options.dtype(dtype)),
      {}};
  auto& gradients = std::get<1>(out);
  if (o.wanted) gradients.push_back(at::empty({}, options.dtype(widest_type(options.device()))));
  each_wanted(o, [&](size_t i) {
    gradients.push_back(at::empty_symint(x[i].sym_sizes(), options.dtype(exact_type(x))));
  });
  return out;
}
std::vector<Tensor> backward_meta(const Tensor&, at::TensorList operands, at::TensorList,
                                  at::IntArrayRef ints, at::ArrayRef<double> floats) {
  const LinearOptions o = linear_options(ints, floats);
  const LinearTensors x = linear_tensors(operands, o);
  std::vector<Tensor> out;
  each_wanted(o,
              [&](size_t i) { out.push_back(at::empty_symint(x[i].sym_sizes(), x[i].options())); });
  return out;
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  m.def(
      "_linear_loss(Tensor[] operands, int[] options, float[] parameters, ScalarType dtype) -> "
      "(Tensor value, Tensor[] gradients)",
      kTags);
  m.def(
      "_linear_loss_backward(Tensor g, Tensor[] operands, Tensor[] gradients, int[] options, "
      "float[] parameters) -> Tensor[]",
      kTags);
}
void register_blocks(torch::Library& m) {
  m.impl(kLinear, &forward);
  m.impl(kLinearBackward, &backward);
}
TORCH_LIBRARY_IMPL(torch_infotheory, CompositeExplicitAutograd, m) { register_blocks(m); }
// torch.compile takes an op apart on a device that has no kernel of its own (compositions.cpp).
TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) { register_blocks(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, CUDA, m) { register_blocks(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, Meta, m) {
  m.impl(kLinear, &forward_meta);
  m.impl(kLinearBackward, &backward_meta);
}

}  // namespace
}  // namespace torch_infotheory
