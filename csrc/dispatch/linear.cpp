// linear.cpp -- losses from hidden states in blocks of rows: the kernel of `_linear_loss` and Meta.
//
// For each block: compute the logits by a matrix product into a buffer, call the row op forward and
// backward, and backpropagate through the product. Products are ATen's except for bfloat16 on some
// CPUs (cpu.h), and everything else is done by the row ops, so the same code serves all devices and
// formulas.
#include "dispatch/linear.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include "dispatch/cpu.h"
#include "dispatch/linear_head.h"
#include "dispatch/linear_rows.h"
#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

// Whether a teacher's logits are given, and have to be divided by the temperature.
bool divides_target(const LinearTensors& x, const LinearOptions& o) {
  return !o.has_teacher() && x[kTarget].defined() && o.target_kind == kLogits && o.temperature != 1;
}

// The maximum size of a block in bytes, with its logits, their gradient and a teacher's logits,
// unless the block would have fewer rows than kFewRows. Each block reads and writes the whole
// gradient of the weight, which costs as much as multiplying 8 rows on a CPU and more where
// products are faster. Therefore blocks are as large as memory allows rather than as small as a
// cache.
constexpr int64_t kBlockBytes = int64_t(64) << 20, kFewRows = 16;

// Depends on sizes and options only, so that results are reproducible. All blocks but the last have
// this size.
int64_t rows_of_block(int64_t rows, const LinearTensors& x, const LinearOptions& o) {
  if (o.chunk > 0) return std::max<int64_t>(std::min(o.chunk, rows), 1);
  const int64_t logits = x[kWeight].numel() / std::max<int64_t>(x[kWeight].size(-1), 1),
                matrices =
                    o.has_teacher() || divides_target(x, o) || !overwrites_logits(x, o) ? 2 : 1,
                bytes = std::max<int64_t>(
                    logits * matrices * int64_t(c10::elementSize(exact_type(x))), 1);
  const int64_t most = std::max(kBlockBytes / bytes, kFewRows);
  const int64_t blocks = std::max<int64_t>((rows + most - 1) / most, 1);
  return std::max<int64_t>((rows + blocks - 1) / blocks, 1);
}

// Checks labels before any product. On CUDA this would synchronize, and kernels assert it instead.
void check_labels(const LinearTensors& x, const LinearOptions& o) {
  const Tensor& labels = x[kTarget];
  if (!o.has_labels() || !labels.is_cpu()) return;
  const auto wrong = first_outside(labels, x[kWeight].size(0), o.ignore_index);
  TORCH_CHECK_INDEX(!wrong, "Target ", wrong.value_or(0), " is out of bounds.");
}

// Without `g`: the value and the gradients of the sum. With `g`, one number per distribution: only
// the gradients.
template <class F>
LinearResults run_blocks(const LinearTensors& x, const LinearOptions& o, const Tensor& g) {
  const ScalarType exact = exact_type(x), widest = widest_type(x[kStates].device());
  const auto options = x[kStates].options().dtype(exact);
  const int64_t all = x[kStates].size(0);
  check_labels(x, o);
  Block block(counting_rows(x, o), all);
  const int64_t most = rows_of_block(block.rows, x, o);
  block.size = std::min(most, block.rows);
  Head model(x, o, kStates, block);
  optional<Head> teacher;
  if (o.has_teacher()) teacher.emplace(x, o, kTarget, block);
  const bool divides = divides_target(x, o);

  const bool sums = !g.defined() && o.reduction != kNone;
  const Options rows = o.row_options(sums ? kSum : kNone);
  Tensor value = sums ? at::zeros({}, options.dtype(widest))
                      : block.output(shape_of_values<int64_t>(x, o), options);
  Tensor grad_target;
  const bool writes_grad_target = !teacher && o.wants(kTarget);
  if (writes_grad_target) grad_target = block.output(x[kTarget].sizes(), options);

  for (; block.begin < block.rows; block.begin += most) {
    block.size = std::min(most, block.rows - block.begin);
    Tensor target = teacher                ? teacher->logits(block)
                    : x[kTarget].defined() ? block.select(x[kTarget])
                                           : Tensor();
    if (writes_grad_target) target = target.to(exact);  // so that its gradient is rounded once
    if (divides) target = tempered(target, o.temperature);
    const RowPair pair = RowPair::make<F>(x, o, model.logits(block), target);
    const auto [v, saved] = RowLoss<F>::forward(pair, rows, sums ? widest : exact);
    if (sums)
      value.add_(v);
    else
      block.store(value, v);
    const Tensor grad_value = g.defined() ? block.select(g) : at::ones_like(v);
    // The gradient of the model's logits, or of the target. (clang < 16 cannot capture a binding.)
    const auto backward = [&, &saved = saved](bool to_model, const Tensor& out) {
      return RowLoss<F>::backward(grad_value, pair, saved, rows, to_model != bool(o.model_is_p),
                                  out);
    };
    const Tensor grad_model =
        o.wanted & kModelOperands ? backward(true, model.gradient_buffer()) : Tensor();
    const Tensor out = teacher ? teacher->gradient_buffer() : Tensor();
    const Tensor grad_other = o.wanted & kTargetOperands ? backward(false, out) : Tensor();
    if (grad_model.defined()) model.backward(block, grad_model);
    if (grad_other.defined() && teacher)
      teacher->backward(block, grad_other);
    else if (grad_other.defined())
      block.store(grad_target, divides ? grad_other / o.temperature : grad_other);
  }
  LinearResults results{value, {}};
  auto& gradients = std::get<1>(results);
  model.append_gradients(gradients);
  if (teacher) teacher->append_gradients(gradients);
  if (grad_target.defined()) gradients.push_back(grad_target);
  return results;
}

LinearResults run(const LinearTensors& x, const LinearOptions& o, const Tensor& g) {
  check_linear(x);
  // A backward pass may run under autocast, which must not affect its products.
  const c10::impl::ExcludeDispatchKeyGuard below(c10::autocast_dispatch_keyset);
  return with_formula(
      o, [&](auto formula) { return run_blocks<typename decltype(formula)::type>(x, o, g); });
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
    inverse.masked_fill_(inverse.isinf(), 0);  // all rows ignored: the gradient is 0, the value NaN
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
// Without these, torch.compile would decompose the op on CPU and CUDA (compositions.cpp).
TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) { register_blocks(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, CUDA, m) { register_blocks(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, Meta, m) {
  m.impl(kLinear, &forward_meta);
  m.impl(kLinearBackward, &backward_meta);
}

}  // namespace
}  // namespace torch_infotheory
