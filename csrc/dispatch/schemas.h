// schemas.h -- how the public ops are defined.
//
// Knows schemas; must not know tensors.
#pragma once
#include <torch/library.h>

#include <string>
#include <vector>

namespace torch_infotheory {

inline const std::vector<at::Tag> kTags = {at::Tag::pt2_compliant_tag};

// The op of this schema. The Python functions take a pair of kinds and the name of a reduction,
// where the ops take two kinds and a number: overloads with the types of the functions say so,
// because the dispatcher would say that it cannot cast.
void define(torch::Library& m, const std::string& schema);

}  // namespace torch_infotheory
