// ops.h -- which formulas have row ops, and how many numbers each saves for backward.
//
// A formula has two private ops, `_name` and `_name_backward`, which have the kernels and the
// derivatives. The public ops are composites of them. `_name_backward_both` computes what autograd
// most often asks of a formula of two operands, and has no derivatives.
#pragma once
#include "core/formulas.h"
#include "dispatch/signature.h"

namespace torch_infotheory {

// Elementwise measures. They reduce nothing and have no kernels; maps.h implements them in ATen.
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

// How many numbers per row forward saves for backward.
template <class F>
int64_t saved_numbers(const Options& o) {
  return is_map<F> || !o.saves_rows() ? 0 : kSavedNumbers * F::arity;
}

// The formulas that are reduced; and everything that has row ops.
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
