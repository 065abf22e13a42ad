// torch_infotheory/schema.h -- the types of the ops, and how one is found by its name.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

namespace torch_infotheory {

using at::IntArrayRef;
using at::ScalarType;
using at::Tensor;
using std::optional;
using std::string_view;

namespace schema {
using Map = Tensor(const Tensor&, IntArrayRef, string_view, optional<double>, optional<ScalarType>);
using Unary = Tensor(const Tensor&, IntArrayRef, string_view, optional<double>, bool,
                     optional<ScalarType>, double);
using Pair = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view, optional<string_view>,
                    optional<double>, bool, optional<ScalarType>, double);
using Table = Tensor(const Tensor&, IntArrayRef, IntArrayRef, string_view, optional<double>, bool,
                     optional<ScalarType>);
using PairWithoutUnit = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view,
                               optional<string_view>, bool, optional<ScalarType>);
using PairWithWeight = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view,
                              optional<string_view>, optional<double>, bool, optional<ScalarType>,
                              double, double);
using PairWithoutTemperature = Tensor(const Tensor&, const Tensor&, IntArrayRef, string_view,
                                      optional<string_view>, optional<double>, bool,
                                      optional<ScalarType>, double);

using Variables = Tensor(const Tensor&, IntArrayRef, at::OptionalIntArrayRef, string_view,
                         optional<double>, bool, optional<ScalarType>);

// The dimensions of all variables, and their number for each, because schemas have no nested lists.
struct Dims {
  std::vector<int64_t> all, lengths;
  explicit Dims(at::ArrayRef<IntArrayRef> variables) {
    for (const IntArrayRef dims : variables) {
      all.insert(all.end(), dims.begin(), dims.end());
      lengths.push_back(int64_t(dims.size()));
    }
  }
};

template <class Signature>
c10::TypedOperatorHandle<Signature> op(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

}  // namespace schema

}  // namespace torch_infotheory
