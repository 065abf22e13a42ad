// schemas.h -- defines the public ops.
#pragma once
#include <torch/library.h>

#include <string>
#include <vector>

namespace torch_infotheory {

inline const std::vector<at::Tag> kTags = {at::Tag::pt2_compliant_tag};

// Defines an op. The Python functions accept a pair of kinds and the name of a reduction; the ops
// have two kinds and a number. Overloads with the types of the functions raise an error that says
// so, because that of the dispatcher would only say that it cannot cast.
void define(torch::Library& m, const std::string& schema);

}  // namespace torch_infotheory
