// count.cpp -- counts pairs of labels on the CPU and checks them in the same pass.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/library.h>

#include "dispatch/schemas.h"

namespace torch_infotheory {
namespace {

using at::Tensor;

Tensor table_of(const Tensor& x, const Tensor& y, const c10::SymInt& num_x,
                const c10::SymInt& num_y) {
  TORCH_CHECK(x.dim() > 0 && x.sym_sizes().equals(y.sym_sizes()),
              "joint_table: expected labels of one shape, got ", x.sym_sizes(), " and ",
              y.sym_sizes());
  c10::SymDimVector shape(x.sym_sizes().slice(0, x.dim() - 1));
  shape.push_back(num_x);
  shape.push_back(num_y);
  return at::zeros_symint(shape, x.options().dtype(at::kLong));
}

// Labels (..., N) to counts (..., num_x, num_y). A pair with a negative label is ignored.
Tensor count_pairs(const Tensor& x, const Tensor& y, int64_t num_x, int64_t num_y) {
  const at::ScalarType type =
      c10::promoteTypes(at::promoteTypes(x.scalar_type(), y.scalar_type()), at::kByte);
  const Tensor table = table_of(x, y, num_x, num_y), xs = x.to(type).contiguous(),
               ys = y.to(type).contiguous();
  const int64_t n = x.size(-1), rows = n ? x.numel() / n : 0;
  AT_DISPATCH_INTEGRAL_TYPES(type, "joint_table", [&] {
    const auto check = [](int64_t label, int64_t classes) {
      TORCH_CHECK_INDEX(label < classes, "joint_table: label ", label,
                        " is out of bounds: ", classes, " classes");
    };
    const scalar_t *a = xs.const_data_ptr<scalar_t>(), *b = ys.const_data_ptr<scalar_t>();
    int64_t* counts = table.mutable_data_ptr<int64_t>();
    for (int64_t row = 0; row < rows; ++row, counts += num_x * num_y)
      for (int64_t i = 0; i < n; ++i, ++a, ++b) {
        const uint64_t x_label = uint64_t(int64_t(*a)), y_label = uint64_t(int64_t(*b));
        if (C10_LIKELY(x_label < uint64_t(num_x) && y_label < uint64_t(num_y))) {
          ++counts[x_label * num_y + y_label];
        } else {
          check(*a, num_x);
          check(*b, num_y);
        }
      }
  });
  return table;
}
Tensor count_pairs_meta(const Tensor& x, const Tensor& y, c10::SymInt num_x, c10::SymInt num_y) {
  return table_of(x, y, num_x, num_y);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  m.def("_count_pairs(Tensor x, Tensor y, SymInt num_x, SymInt num_y) -> Tensor", kTags);
}
TORCH_LIBRARY_IMPL(torch_infotheory, CPU, m) { m.impl("_count_pairs", &count_pairs); }
TORCH_LIBRARY_IMPL(torch_infotheory, Meta, m) { m.impl("_count_pairs", &count_pairs_meta); }

}  // namespace
}  // namespace torch_infotheory
