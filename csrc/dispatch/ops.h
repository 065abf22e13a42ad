// ops.h -- which formulas have row ops, and what each saves for backward.
//
// Every formula has two private ops of one schema each, `_name` and `_name_backward`, which carry
// the kernels and the autograd formula; the public ops (ops.cpp, losses.cpp) are composites over
// them. Knows tensors and shapes; must not know how a row is reduced. Read next: ops.cpp.
#pragma once
#include "core/formulas.h"
#include "dispatch/signature.h"

namespace torch_infotheory {

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

// Numbers per row that forward saves for backward.
template <class F>
int64_t saved_numbers(const Options& o) {
  return is_map<F> || !o.saves_rows() ? 0 : kSavedNumbers * F::arity;
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
