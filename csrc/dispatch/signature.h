// signature.h -- the arguments of a row op: as structs, as a schema, and for the dispatcher.
//
// A kernel of any dispatch key is a function of structs,
//   (Operands, Options, dtype) -> (value, saved)        for `_name`,
//   (g, Operands, saved, Options, wrt) -> gradient      for `_name_backward`,
//   (g, Operands, saved, Options) -> (by p, by q)       for `_name_backward_both`,
// and register_row_op adapts them to the signature of the schema.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string>
#include <tuple>

#include "core/rows.h"

namespace torch_infotheory {

using at::Tensor;
using c10::ScalarType;
using std::optional;

// at::Reduction over the rows; and the terms of elementwise ops, or their sum.
enum Reduction : int64_t { kNone = 0, kMean = 1, kSum = 2, kTerms = 3, kSumOfTerms = 4 };

// torch's default, for every op with this argument.
constexpr int64_t kIgnoreIndex = -100;

// Ints and floats only, all positional and with `dim` first, because the key of DTensor's cache of
// sharding rules consists of the arguments from the first int on and of keyword arguments that are
// ints.
struct Options {
  int64_t dim = -1;  // of the classes; joint tables always occupy the last two dimensions (x, y)
  int64_t p_kind = kProbs, q_kind = kProbs;  // a Kind each
  // Over the rows. A mean of labels is weighted and excludes ignored ones.
  int64_t reduction = kNone;
  int64_t ignore_index = kIgnoreIndex;
  double label_smoothing = 0;
  double scale = 1;        // factor of the result, such as the unit of the logarithm
  double parameter = 0;    // of the formula, if it has one
  double temperature = 1;  // divides logits as they are read

  static constexpr const char* names[] = {"dim",       "p_kind",       "q_kind",
                                          "reduction", "ignore_index", "label_smoothing",
                                          "scale",     "parameter",    "temperature"};
  auto fields() {
    return std::tie(dim, p_kind, q_kind, reduction, ignore_index, label_smoothing, scale, parameter,
                    temperature);
  }
  auto fields() const { return const_cast<Options*>(this)->fields(); }

  bool is_elementwise() const { return reduction == kTerms || reduction == kSumOfTerms; }
  bool is_reduced() const { return reduction != kNone && reduction != kTerms; }
  bool has_labels() const { return p_kind == kLabels; }
  // By what the numbers in memory of an operand are divided.
  double divisor(int64_t kind) const { return kind == kLogits ? temperature : 1; }
  bool saves_rows() const {
    return !is_elementwise() && !gathers(Kind(p_kind), Kind(q_kind), label_smoothing);
  }
};

struct Operands {
  const Tensor& p;
  const optional<Tensor>& q;
  const optional<Tensor>& weight;
  // The operand that has the class dimension.
  const Tensor& full(const Options& o) const { return o.has_labels() ? *q : p; }
  const Tensor& input(int64_t wrt) const { return wrt == kWrtQ ? *q : p; }
};

template <class Fields>
struct SignatureOf;
template <class... O>
struct SignatureOf<std::tuple<O&...>> {
  static_assert(sizeof...(O) == std::size(Options::names));
  using Keys = c10::DispatchKeySet;
  using Values = std::tuple<Tensor, Tensor>;
  using Forward = Values(const Tensor& p, const optional<Tensor>& q, const optional<Tensor>& weight,
                         O... options, optional<ScalarType> dtype);
  using Backward = Tensor(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                          const optional<Tensor>& weight, const Tensor& saved, O... options,
                          int64_t wrt);
  using BackwardBoth = Values(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                              const optional<Tensor>& weight, const Tensor& saved, O... options);

  static std::string option_schema() {
    std::string text;
    size_t i = 0;
    for (const bool is_int : {std::is_same_v<O, int64_t>...})
      text += std::string(is_int ? "int " : "float ") + Options::names[i++] + ", ";
    return text;
  }

  template <auto f>
  static Values forward(const Tensor& p, const optional<Tensor>& q, const optional<Tensor>& weight,
                        O... options, optional<ScalarType> dtype) {
    return f(Operands{p, q, weight}, Options{options...}, dtype);
  }
  template <auto f>
  static Tensor backward(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                         const optional<Tensor>& weight, const Tensor& saved, O... options,
                         int64_t wrt) {
    return f(g, Operands{p, q, weight}, saved, Options{options...}, wrt);
  }
  template <auto f>
  static Values backward_both(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                              const optional<Tensor>& weight, const Tensor& saved, O... options) {
    return f(g, Operands{p, q, weight}, saved, Options{options...});
  }
  template <auto f>
  static Values backward_twice(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                               const optional<Tensor>& weight, const Tensor& saved, O... options) {
    const Operands x{p, q, weight};
    const Options o{options...};
    return {f(g, x, saved, o, kWrtP), f(g, x, saved, o, kWrtQ)};
  }
  // For kernels that redispatch below their own key.
  template <auto f>
  static Values forward_with_keys(Keys keys, const Tensor& p, const optional<Tensor>& q,
                                  const optional<Tensor>& weight, O... options,
                                  optional<ScalarType> dtype) {
    return f(keys, Operands{p, q, weight}, Options{options...}, dtype);
  }
  template <auto f>
  static Tensor backward_with_keys(Keys keys, const Tensor& g, const Tensor& p,
                                   const optional<Tensor>& q, const optional<Tensor>& weight,
                                   const Tensor& saved, O... options, int64_t wrt) {
    return f(keys, g, Operands{p, q, weight}, saved, Options{options...}, wrt);
  }
};
using Signature = SignatureOf<decltype(std::declval<Options&>().fields())>;

inline std::string forward_schema() {
  return "(Tensor p, Tensor? q, Tensor? weight, " + Signature::option_schema() +
         "ScalarType? dtype=None) -> (Tensor value, Tensor saved)";
}
inline std::string backward_schema() {
  return "(Tensor g, Tensor p, Tensor? q, Tensor? weight, Tensor saved, " +
         Signature::option_schema() + "int wrt) -> Tensor";
}
inline std::string backward_both_schema() {
  const std::string all = Signature::option_schema(), options(all, 0, all.size() - 2);  // the comma
  return "(Tensor g, Tensor p, Tensor? q, Tensor? weight, Tensor saved, " + options +
         ") -> (Tensor by_p, Tensor by_q)";
}

// ---- by the name of a formula ----
template <class F>
std::string forward_name() {
  return std::string("_") + F::name;
}
template <class F>
std::string backward_name() {
  return forward_name<F>() + "_backward";
}
template <class F>
std::string backward_both_name() {
  return backward_name<F>() + "_both";
}
template <class F, auto f>
void register_forward(torch::Library& m) {
  m.impl(forward_name<F>().c_str(), &Signature::template forward<f>);
}
template <class F, auto b>
void register_backward(torch::Library& m) {
  m.impl(backward_name<F>().c_str(), &Signature::template backward<b>);
}
template <class F, auto both>
void register_backward_both(torch::Library& m) {
  m.impl(backward_both_name<F>().c_str(), &Signature::template backward_both<both>);
}
// Both gradients are two calls of `b`.
template <class F, auto f, auto b>
void register_row_op(torch::Library& m) {
  register_forward<F, f>(m);
  register_backward<F, b>(m);
  if constexpr (F::arity == 2)
    m.impl(backward_both_name<F>().c_str(), &Signature::template backward_twice<b>);
}
template <class F, auto f, auto b>
void register_row_op_with_keys(torch::Library& m) {
  m.impl(forward_name<F>().c_str(), &Signature::template forward_with_keys<f>);
  m.impl(backward_name<F>().c_str(), &Signature::template backward_with_keys<b>);
}

template <class Fn>
c10::TypedOperatorHandle<Fn> find_op(const std::string& name) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow(("torch_infotheory::" + name).c_str(), "")
      .typed<Fn>();
}
template <class F>
const auto& forward_op() {
  static const auto op = find_op<Signature::Forward>(forward_name<F>());
  return op;
}
template <class F>
const auto& backward_op() {
  static const auto op = find_op<Signature::Backward>(backward_name<F>());
  return op;
}
template <class F>
std::tuple<Tensor, Tensor> call_forward(const Operands& x, const Options& o,
                                        optional<ScalarType> dtype) {
  const auto call = [&](auto... options) {
    return forward_op<F>().call(x.p, x.q, x.weight, options..., dtype);
  };
  return std::apply(call, o.fields());
}
template <class F>
Tensor call_backward(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                     int64_t wrt) {
  const auto call = [&](auto... options) {
    return backward_op<F>().call(g, x.p, x.q, x.weight, saved, options..., wrt);
  };
  return std::apply(call, o.fields());
}
template <class F>
std::tuple<Tensor, Tensor> call_backward_both(const Tensor& g, const Operands& x,
                                              const Tensor& saved, const Options& o) {
  static const auto op = find_op<Signature::BackwardBoth>(backward_both_name<F>());
  return std::apply(
      [&](auto... options) { return op.call(g, x.p, x.q, x.weight, saved, options...); },
      o.fields());
}
template <class F>
std::tuple<Tensor, Tensor> redispatch_forward(c10::DispatchKeySet keys, const Operands& x,
                                              const Options& o, optional<ScalarType> dtype) {
  const auto call = [&](auto... options) {
    return forward_op<F>().redispatch(keys, x.p, x.q, x.weight, options..., dtype);
  };
  return std::apply(call, o.fields());
}
template <class F>
Tensor redispatch_backward(c10::DispatchKeySet keys, const Tensor& g, const Operands& x,
                           const Tensor& saved, const Options& o, int64_t wrt) {
  const auto call = [&](auto... options) {
    return backward_op<F>().redispatch(keys, g, x.p, x.q, x.weight, saved, options..., wrt);
  };
  return std::apply(call, o.fields());
}

// An absent tensor is an empty optional in schemas, and undefined in autograd and vmap.
inline optional<Tensor> maybe(const Tensor& t) {
  return t.defined() ? optional<Tensor>(t) : std::nullopt;
}
inline Tensor or_undefined(const optional<Tensor>& t) { return t ? *t : Tensor(); }

}  // namespace torch_infotheory
