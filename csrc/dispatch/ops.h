// ops.h -- the row ops: their schema, their options, typed calls.
//
// Every formula has two private ops of one schema each, `_name` and `_name_backward`, which carry
// the kernels and the autograd formula; the public ops (ops.cpp, losses.cpp) are composites over
// them. Knows tensors and shapes; must not know how a row is reduced. Read next: ops.cpp.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <string>
#include <tuple>

#include "core/formulas.h"
#include "core/rows.h"

namespace torch_infotheory {

using at::Tensor;
using c10::ScalarType;
using std::optional;

// Measures that are a map: nothing is reduced, so that they have no kernel; maps.h states them on
// tensors.
struct Map {
  static constexpr int arity = 1;
};
struct SelfInformation : Map {
  static constexpr const char* name = "self_information";
  static constexpr int class_dims = 1;
};
struct PointwiseMutualInformation : Map {
  static constexpr const char* name = "pointwise_mutual_information";
  static constexpr int class_dims = 2;
};
struct NormalizedPmi : Map {
  static constexpr const char* name = "normalized_pointwise_mutual_information";
  static constexpr int class_dims = 2;
};
using Maps = List<SelfInformation, PointwiseMutualInformation, NormalizedPmi>;
template <class F>
constexpr bool is_map = std::is_base_of_v<Map, F>;

// at::Reduction over the rows; and, for what is defined element by element, its terms and their
// sum.
enum Reduction : int64_t { kNone = 0, kMean = 1, kSum = 2, kTerms = 3, kSumOfTerms = 4 };

// The options of a row op. Ints and floats only, all positional, `dim` first: DTensor's cache of
// sharding rules looks at the arguments from the first int on, and at ints alone among the keyword
// ones.
struct Options {
  int64_t dim = -1;  // of the classes; joint tables always lie in the last two dimensions (x, y)
  int64_t kinds = kProbs;  // Kind of p, and of q four bits higher
  int64_t reduction =
      kNone;  // over the rows; the mean of labels is weighted and leaves out the ignored ones
  int64_t ignore_index = -100;
  double label_smoothing = 0;
  double scale = 1;  // factor of the result, the logarithm's unit for one

  Kind p_kind() const { return Kind(kinds & 15); }
  Kind q_kind() const { return Kind(kinds >> 4 & 15); }
  bool is_elementwise() const { return reduction == kTerms || reduction == kSumOfTerms; }
  bool is_reduced() const { return reduction != kNone && reduction != kTerms; }
  bool has_labels() const { return p_kind() == kLabels; }
  bool keeps_rows() const {
    return !is_elementwise() && !picks(p_kind(), q_kind(), label_smoothing);
  }
  template <class Visit>
  void each(Visit&& visit) {
    visit(dim), visit(kinds), visit(reduction), visit(ignore_index), visit(label_smoothing),
        visit(scale);
  }
};
// Numbers per row that forward keeps for backward.
template <class F>
int64_t kept(const Options& o) {
  return is_map<F> || !o.keeps_rows() ? 0 : kSavedNumbers * F::arity;
}
inline int64_t kinds_of(Kind p, Kind q = kProbs) { return p | q << 4; }

using ForwardFn = std::tuple<Tensor, Tensor>(const Tensor& p, const optional<Tensor>& q,
                                             const optional<Tensor>& weight, int64_t dim,
                                             int64_t kinds, int64_t reduction, int64_t ignore_index,
                                             double label_smoothing, double scale,
                                             optional<ScalarType> dtype);
using BackwardFn = Tensor(const Tensor& g, const Tensor& p, const optional<Tensor>& q,
                          const optional<Tensor>& weight, const Tensor& saved, int64_t dim,
                          int64_t kinds, int64_t reduction, int64_t ignore_index,
                          double label_smoothing, double scale, int64_t wrt);
constexpr const char* kForwardSchema =
    "(Tensor p, Tensor? q, Tensor? weight, int dim, int kinds, int reduction, int ignore_index, "
    "float label_smoothing, "
    "float scale, ScalarType? dtype=None) -> (Tensor value, Tensor saved)";
constexpr const char* kBackwardSchema =
    "(Tensor g, Tensor p, Tensor? q, Tensor? weight, Tensor saved, int dim, int kinds, int "
    "reduction, int ignore_index, "
    "float label_smoothing, float scale, int wrt) -> Tensor";

template <class F>
std::string forward_name() {
  return std::string("_") + F::name;
}
template <class F>
std::string backward_name() {
  return forward_name<F>() + "_backward";
}
template <class Fn>
c10::TypedOperatorHandle<Fn> find_op(const std::string& name) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow(("torch_infotheory::" + name).c_str(), "")
      .typed<Fn>();
}
template <class F>
const auto& forward_op() {
  static const auto op = find_op<ForwardFn>(forward_name<F>());
  return op;
}
template <class F>
const auto& backward_op() {
  static const auto op = find_op<BackwardFn>(backward_name<F>());
  return op;
}

// An absent tensor, as schemas and as autograd and vmap have it.
inline optional<Tensor> maybe(const Tensor& t) {
  return t.defined() ? optional<Tensor>(t) : std::nullopt;
}
inline Tensor or_undefined(const optional<Tensor>& t) { return t ? *t : Tensor(); }

// The operands of a call, as the layers above the kernels pass them on.
struct Operands {
  const Tensor& p;
  const optional<Tensor>& q;
  const optional<Tensor>& weight;
  // The operand that has the class dimension, whatever the kinds.
  const Tensor& full(const Options& o) const { return o.has_labels() ? *q : p; }
};
template <class F>
std::tuple<Tensor, Tensor> call_forward(const Operands& x, const Options& o,
                                        optional<ScalarType> dtype) {
  return forward_op<F>().call(x.p, x.q, x.weight, o.dim, o.kinds, o.reduction, o.ignore_index,
                              o.label_smoothing, o.scale, dtype);
}
template <class F>
Tensor call_backward(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                     int64_t wrt) {
  return backward_op<F>().call(g, x.p, x.q, x.weight, saved, o.dim, o.kinds, o.reduction,
                               o.ignore_index, o.label_smoothing, o.scale, wrt);
}

// The quantities that are a sum, and all that have row ops.
template <class Visit>
void each_formula(Visit&& visit) {
  each(RowFormulas{}, visit);
  each(TableFormulas{}, visit);
}
template <class Visit>
void each_row_op(Visit&& visit) {
  each_formula(visit);
  each(Maps{}, visit);
}

}  // namespace torch_infotheory
