// tables.cpp -- joint tables of labels: how often each combination of labels occurs.
#include <torch/library.h>

#include "dispatch/arguments.h"
#include "dispatch/samples.h"
#include "dispatch/schemas.h"
#include "dispatch/signature.h"

namespace torch_infotheory {
namespace {

using c10::SymInt, c10::SymIntArrayRef;

const char* const kJointTable = "joint_table";

void check_labels(const char* argument, const Tensor& labels) {
  check_dense(kJointTable, argument, labels);
  TORCH_CHECK_TYPE(at::isIntegralType(labels.scalar_type(), /*includeBool=*/true), kJointTable,
                   ": expected ", argument, " to have labels of an integer dtype, got ",
                   labels.scalar_type());
}
// One more than the largest label. It is a separate op, because torch.compile requires a
// data-dependent size to be the result of an op.
Tensor number_of_classes(const Tensor& labels) {
  if (labels.sym_numel() == 0) return at::zeros({}, labels.options().dtype(at::kLong));
  return (labels.max().to(at::kLong) + 1).clamp_min(0);
}
SymInt size_of(const Tensor& labels, const optional<SymInt>& given) {
  if (!given) return number_of_classes(labels).item<int64_t>();
  const auto known = given->maybe_as_int();
  TORCH_CHECK_VALUE(!known || *known >= 0, kJointTable, ": a number of classes cannot be ", *given);
  TORCH_SYM_CHECK(given->sym_ge(0), kJointTable, ": a number of classes cannot be below 0");
  return *given;
}

// The samples that are ignored, and those with a label out of range.
struct Outside {
  Tensor left_out, beyond;

  // On the CPU a label that is too large is an error. Elsewhere the check would synchronize.
  Outside(const std::vector<Tensor>& columns, const std::vector<SymInt>& sizes) {
    for (size_t v = 0; v < columns.size(); ++v) {
      const Tensor& labels = columns[v];
      if (!labels.is_cpu() || !is_plain_tensor(labels)) {
        const Tensor wide =
            labels.to(at::kLong);  // 8 bits cannot represent every number of classes
        add(left_out, wide < 0);
        add(beyond, wide >= at::Scalar(sizes[v]));
      } else if (labels.numel() > 0) {
        const auto [least, most] = labels.aminmax();
        const int64_t largest = most.item<int64_t>();
        TORCH_CHECK_INDEX(largest < sizes[v], kJointTable, ": label ", largest,
                          " is out of bounds: ", sizes[v], " classes");
        if (least.item<int64_t>() < 0) add(left_out, labels < 0);
      }
    }
  }

 private:
  static void add(Tensor& mask, const Tensor& more) {
    mask = mask.defined() ? mask.logical_or(more) : more;
  }
};

// The index of each sample's cell in the consecutive tables of a batch.
Tensor cells_of(const std::vector<Tensor>& columns, const std::vector<SymInt>& sizes) {
  Tensor cell;
  if (columns[0].dim() > 1) {
    c10::SymDimVector batch(columns[0].sym_sizes());
    batch.back() = 1;
    const at::Scalar rows(c10::multiply_integers(batch));
    cell = at::arange(rows, columns[0].options().dtype(at::kLong)).view_symint(batch);
  }
  for (size_t v = 0; v < columns.size(); ++v) {
    const Tensor labels = columns[v].to(at::kLong);
    cell = cell.defined() ? at::add(labels, cell, at::Scalar(sizes[v])) : labels;
  }
  return cell;
}

// On the CPU index_add accumulates in order. On a GPU its order varies, while index_put sorts the
// cells first and is therefore deterministic.
Tensor add_in_order(const Tensor& table, const Tensor& cells, const Tensor& weight) {
  return table.is_cuda() ? table.index_put({cells}, weight, /*accumulate=*/true)
                         : table.index_add(0, cells, weight);
}

// Counts labels of one shape, with samples in the last dimension, by ATen ops.
Tensor composed(const std::vector<Tensor>& columns, const std::vector<SymInt>& sizes,
                const optional<Tensor>& weight) {
  const Outside outside(columns, sizes);
  const c10::SymDimVector shape = shape_of_tables(columns[0], sizes);
  const SymInt cells = c10::multiply_integers(shape);
  Tensor cell = cells_of(columns, sizes);
  if (outside.left_out.defined())  // counted in an extra cell
    cell = cell.masked_fill(outside.left_out, at::Scalar(cells));
  // An invalid cell, so that the kernel that accumulates the table raises a device assertion.
  if (outside.beyond.defined()) cell = cell.masked_fill(outside.beyond, at::Scalar(cells + 1));
  cell = cell.reshape(-1);
  const ScalarType type = weight ? exact_type(weight->scalar_type()) : at::kLong;
  const Tensor empty = at::zeros_symint({cells + 1}, cell.options().dtype(type));
  const Tensor table =
      weight ? add_in_order(empty, cell, weight->reshape(-1).to(type))
             : empty.index_add(0, cell,
                               at::ones({1}, empty.options()).expand_symint(cell.sym_sizes()));
  return table.narrow_symint(0, 0, cells).view_symint(shape);
}

Tensor counted(const std::vector<Tensor>& columns, const std::vector<SymInt>& sizes,
               const optional<Tensor>& weight) {
  static const auto count_pairs =
      find_op<Tensor(const Tensor&, const Tensor&, SymInt, SymInt)>("_count_pairs");
  return !weight && columns.size() == 2 && columns[0].is_cpu()
             ? count_pairs.call(columns[0], columns[1], sizes[0], sizes[1])
             : composed(columns, sizes, weight);
}
// For torch.export, which decomposes the op into ATen ops.
Tensor count_pairs_composed(const Tensor& x, const Tensor& y, SymInt num_x, SymInt num_y) {
  return composed({x, y}, {num_x, num_y}, {});
}

Tensor table_of(std::vector<Tensor> columns, const std::vector<optional<SymInt>>& given,
                const optional<Tensor>& weight, int64_t dim, optional<ScalarType> dtype) {
  optional<Tensor> weights;
  if (weight) {
    check_distribution(kJointTable, "weight", *weight);
    columns.push_back(samples_last(kJointTable, "weight", *weight, dim));
  }
  columns = broadcast_samples(kJointTable, columns, dim);
  if (weight) {
    weights = columns.back();
    columns.pop_back();
  }
  std::vector<SymInt> sizes;
  for (size_t v = 0; v < columns.size(); ++v) sizes.push_back(size_of(columns[v], given[v]));
  const Tensor table = counted(columns, sizes, weights);
  return dtype ? table.to(*dtype) : weight ? table.to(weight->scalar_type()) : table;
}

Tensor joint_table(const Tensor& x, const Tensor& y, optional<SymInt> num_x, optional<SymInt> num_y,
                   const optional<Tensor>& weight, int64_t dim, optional<ScalarType> dtype) {
  check_labels("x", x);
  check_labels("y", y);
  return table_of({samples_last(kJointTable, "x", x, dim), samples_last(kJointTable, "y", y, dim)},
                  {num_x, num_y}, weight, dim, dtype);
}
Tensor joint_table_of_columns(const Tensor& columns, SymIntArrayRef sizes,
                              const optional<Tensor>& weight, int64_t dim,
                              optional<ScalarType> dtype) {
  check_labels("columns", columns);
  const Tensor moved = samples_last(kJointTable, "columns", columns, dim);
  const int64_t n = int64_t(sizes.size());
  TORCH_CHECK(n > 0 && moved.dim() > 1 && moved.sym_size(-2) == n, kJointTable, ": ", n,
              " sizes need columns of shape (..., ", n, ", N), got ", columns.sym_sizes());
  return table_of(moved.unbind(-2), {sizes.begin(), sizes.end()}, weight, dim, dtype);
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  const std::string rest = "*, Tensor? weight=None, int dim=-1, ScalarType? dtype=None) -> Tensor";
  define(m, "joint_table(Tensor x, Tensor y, SymInt? num_x=None, SymInt? num_y=None, " + rest);
  define(m, "joint_table.columns(Tensor columns, SymInt[] sizes, " + rest);
  define(m, "_number_of_classes(Tensor labels) -> Tensor");
}
void register_tables(torch::Library& m) {
  m.impl("joint_table", &joint_table);
  m.impl("joint_table.columns", &joint_table_of_columns);
  m.impl("_number_of_classes", &number_of_classes);
}
TI_COMPOSITES(register_tables)
TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutograd, m) {
  m.impl("_count_pairs", &count_pairs_composed);
}

}  // namespace
}  // namespace torch_infotheory
