// ops.cpp -- the schemas of all row ops, one loop over the list of formulas.
//
// Read next: measures.cpp and losses.cpp, the public ops over them.
#include "dispatch/ops.h"

namespace torch_infotheory {
namespace {

TORCH_LIBRARY(torch_infotheory, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  each_row_op([&](auto formula) {
    using F = typename decltype(formula)::type;
    m.def((forward_name<F>() + forward_schema()).c_str(), tags);
    m.def((backward_name<F>() + backward_schema()).c_str(), tags);
  });
}

}  // namespace
}  // namespace torch_infotheory
