// arguments.h -- checks the arguments of the public ops, and the dtype of their results.
#pragma once
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include <cmath>
#include <string_view>

#include "dispatch/distributions.h"
#include "dispatch/shapes.h"

namespace torch_infotheory {

using std::string_view;

// Call this before anything else, because a nested tensor has no sizes.
inline void check_dense(const char* op, const char* argument, const Tensor& t) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !t.is_nested(), op, ": expected ", argument,
      " to be a dense tensor, got a nested one; pass its values(), the rows of all parts, or",
      " to_padded_tensor()");
  TORCH_CHECK_NOT_IMPLEMENTED(t.layout() == at::kStrided, op, ": expected ", argument,
                              " to be a dense tensor, got one of layout ", t.layout(),
                              "; pass its to_dense()");
}
inline void check_dense(const char* op, const Tensor& input, const Tensor& target,
                        const optional<Tensor>& weight = {}) {
  check_dense(op, "input", input);
  check_dense(op, "target", target);
  if (weight) check_dense(op, "weight", *weight);
}

inline bool are_counts(string_view kind) { return kind == "counts"; }
inline void check_distribution(const char* op, const char* argument, const Tensor& t,
                               string_view kind = {}, const char* hint = "") {
  check_dense(op, argument, t);
  const bool integers = at::isIntegralType(t.scalar_type(), /*includeBool=*/false);
  TORCH_CHECK_TYPE(
      is_computed_with(t.scalar_type()) || (integers && are_counts(kind)), op, ": expected ",
      argument, " to be a floating point tensor (float64, float32, bfloat16 or float16), got ",
      t.scalar_type(), integers && !kind.empty() ? "; counts are kind='counts'" : "", hint);
}

inline Kind kind_of(const char* op, string_view kind,
                    const char* allowed = "'probs', 'log_probs', 'logits' or 'counts'") {
  if (kind == "probs") return kProbs;
  if (kind == "log_probs") return kLogProbs;
  if (kind == "logits") return kLogits;
  TORCH_CHECK_VALUE(false, op, ": expected kind to be ", allowed, ", got '", kind, "'");
}

// 1 / log(base), which converts nats to the unit of `base`.
inline double unit_of(const char* op, optional<double> base) {
  if (!base) return 1;
  TORCH_CHECK_VALUE(std::isfinite(*base) && *base > 0 && *base != 1, op,
                    ": expected base to be a finite number above 0 other than 1, got ", *base);
  return 1 / std::log(*base);
}

// The type used for computation.
inline ScalarType exact_type(ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

inline void check_mask(const char* op, const Tensor& mask, c10::SymIntArrayRef rows) {
  TORCH_CHECK_TYPE(mask.scalar_type() == at::kBool, op, ": expected a mask of booleans, got ",
                   mask.scalar_type());
  TORCH_CHECK(mask.sym_sizes().equals(rows), op, ": expected a mask of shape ", rows, ", got ",
              mask.sym_sizes());
}

inline void check_temperature(const char* op, double temperature) {
  TORCH_CHECK_VALUE(std::isfinite(temperature) && temperature > 0, op,
                    ": expected temperature to be a finite number above 0, got ", temperature);
}
// The temperature divides logits, so one of the kinds has to be that.
inline void check_temperature(const char* op, double temperature, string_view kind,
                              string_view other_kind) {
  check_temperature(op, temperature);
  TORCH_CHECK_VALUE(temperature == 1 || kind == "logits" || other_kind == "logits", op,
                    ": expected kind to be 'logits' where temperature is not 1, got '", kind, "'");
}

// The weight of q in a mixture.
inline void check_weight(const char* op, double weight) {
  TORCH_CHECK_VALUE(weight >= 0 && weight <= 1, op, ": expected weight to be between 0 and 1, got ",
                    weight);
}

inline void check_reduction(const char* op, int64_t reduction) {
  TORCH_CHECK_VALUE(reduction == kNone || reduction == kMean || reduction == kSum, op,
                    ": expected reduction to be 0 (none), 1 (mean) or 2 (sum), got ", reduction);
}

// Whether kernels can read the tensor: it is not a wrapper of a transform, a subclass or a tracer.
inline bool is_plain_tensor(const Tensor& t) {
  using enum c10::DispatchKey;
  return !t.key_set().has_any(c10::DispatchKeySet(
             {Python, Functionalize, Batched, FuncTorchBatched, FuncTorchGradWrapper})) &&
         !c10::impl::TorchDispatchModeTLS::any_modes_set();
}

// Checks class indices before gathering. On CUDA this would synchronize, and gather has a device
// assertion.
inline void check_class_indices(const char* op, const Tensor& index, const c10::SymInt& classes,
                                optional<int64_t> ignore_index = {}) {
  if (!index.is_cpu() || !is_plain_tensor(index) || index.numel() == 0) return;
  const auto wrong = first_outside(index, classes.expect_int(), ignore_index);
  TORCH_CHECK_INDEX(!wrong, op, ": class ", wrong.value_or(0), " is out of bounds for ", classes,
                    " classes");
}

// The dtype of a result before autocast and `dtype`: integers count as float32.
inline ScalarType stated_type(const Tensor& t) {
  return at::isIntegralType(t.scalar_type(), /*includeBool=*/true) ? at::kFloat : t.scalar_type();
}
inline ScalarType stated_type(const Tensor& p, const Tensor& q) {
  return c10::promoteTypes(stated_type(p), stated_type(q));
}
// The dtype of a result; at least float32 under autocast.
inline ScalarType result_type(at::Device device, ScalarType promoted, optional<ScalarType> dtype) {
  const bool widens = promoted != at::kDouble &&
                      at::autocast::is_autocast_available(device.type()) &&  // not on meta
                      at::autocast::is_autocast_enabled(device.type());
  return dtype ? *dtype : widens ? at::kFloat : promoted;
}

// Registers composite ops: for autograd; for vmap, because torch does not decompose the ops of
// other libraries by itself; and for nested tensors, which the ops reject.
#define TI_COMPOSITES(register_all)                                                           \
  TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutograd, m) { register_all(m); }     \
  TORCH_LIBRARY_IMPL(torch_infotheory, FuncTorchBatchedDecomposition, m) { register_all(m); } \
  TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutogradNestedTensor, m) {            \
    register_all(m);                                                                          \
  }

}  // namespace torch_infotheory
