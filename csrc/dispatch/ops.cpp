// ops.cpp -- the schemas of all row ops, defined by a loop over the list of formulas.
#include "dispatch/ops.h"

#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

TORCH_LIBRARY(torch_infotheory, m) {
  each_row_op([&](auto formula) {
    using F = typename decltype(formula)::type;
    m.def((forward_name<F>() + forward_schema()).c_str(), kTags);
    m.def((backward_name<F>() + backward_schema()).c_str(), kTags);
    if constexpr (F::arity == 2)
      m.def((backward_both_name<F>() + backward_both_schema()).c_str(), kTags);
  });
}

}  // namespace
}  // namespace torch_infotheory
