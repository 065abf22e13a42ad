// histogram.cpp -- soft histograms: schemas, Meta, and both ops composed of ATen ops.
//
// The composition passes over the samples once for each cell of a window and allocates a few
// numbers per sample.
#include "dispatch/histogram.h"

#include <torch/library.h>

#include "dispatch/devices.h"
#include "dispatch/schemas.h"
#include "dispatch/tensor_arithmetic.h"

namespace torch_infotheory {
namespace {

// For one variable of all samples: the first cell of each window, and the weights of its cells.
struct PlacedTensor {
  Tensor cell;
  std::vector<Lane> weights;

  template <class W>
  static PlacedTensor make(W, const Tensor& samples, const Tensor& range, int64_t bins,
                           int64_t order, ScalarType type) {
    const Tensor x = samples.to(type), low = range.narrow(1, 0, 1).to(type),
                 high = range.narrow(1, 1, 1).to(type), inside = x.maximum(low).minimum(high);
    const double span = double(bins - W::support + 1);
    const Tensor width = high - low, scale = at::where(width == 0, 0., span / width),
                 t = ((inside - low) * scale).clamp_max(span);  // exceeded only by rounding
    PlacedTensor placed;
    placed.cell = t.nan_to_num(0.).floor().clamp(0., span - 1).to(at::kLong);
    placed.weights.resize(W::support);
    W::weights(Lane(t - placed.cell), order, placed.weights.data());
    for (Lane& w : placed.weights)
      if (order) w = at::where(x == inside, w.t * scale.pow(order), w.t * 0);
    return placed;
  }
};

// Calls visit(cells of the tables of all rows, weights) for each cell of the windows.
template <class Visit>
void each_cell(const Tensor& x, const Tensor& y, const Tensor& range, int64_t bins, int64_t window,
               int64_t order_x, int64_t order_y, ScalarType type, Visit visit) {
  with_window(window, [&](auto w) {
    const auto a = PlacedTensor::make(w, x, range.narrow(1, 0, 2), bins, order_x, type),
               b = PlacedTensor::make(w, y, range.narrow(1, 2, 2), bins, order_y, type);
    const Tensor row = at::arange(at::Scalar(x.sym_size(0)), a.cell.options()).unsqueeze(1);
    const Tensor first = (row * bins + a.cell) * bins + b.cell;
    for (int64_t k = 0; k < w.support; ++k)
      for (int64_t l = 0; l < w.support; ++l)
        visit((first + (k * bins + l)).flatten(), (a.weights[k] * b.weights[l]).t);
  });
}
Tensor where_counted(const optional<Tensor>& mask, const Tensor& values) {
  return mask ? at::where(*mask, values, 0.) : values;
}

Tensor scatter(const Tensor& x, const Tensor& y, const optional<Tensor>& weight,
               const optional<Tensor>& mask, const Tensor& range, int64_t bins, int64_t window,
               int64_t order_x, int64_t order_y) {
  check_histogram(x, y, weight, mask, range, window, order_x, order_y);
  check_bins(bins, window);
  const ScalarType type = widest_type(x.device());
  Tensor table = at::zeros_symint({x.sym_size(0) * bins * bins}, x.options().dtype(type));
  each_cell(x, y, range, bins, window, order_x, order_y, type, [&](const Tensor& cell, Tensor w) {
    if (weight) w = w * weight->to(type);
    table.index_put_({cell}, where_counted(mask, w).flatten(), /*accumulate=*/true);
  });
  table = table.view_symint({x.sym_size(0), bins, bins});
  return at::where(table.sum({1, 2}, /*keepdim=*/true).isnan(), NAN, table)
      .to(exact_type(x, y, weight));
}

Tensor gather(const Tensor& x, const Tensor& y, const optional<Tensor>& mask, const Tensor& range,
              const Tensor& table, int64_t window, int64_t order_x, int64_t order_y,
              ScalarType dtype) {
  check_histogram(x, y, {}, mask, range, window, order_x, order_y);
  check_table(x, table, window);
  const ScalarType type = widest_type(x.device());
  const Tensor cells = table.to(type).flatten();
  Tensor out = at::zeros_symint(x.sym_sizes(), x.options().dtype(type));
  each_cell(x, y, range, table.size(-1), window, order_x, order_y, type,
            [&](const Tensor& cell, const Tensor& w) {
              out.add_(w * cells.index_select(0, cell).view_symint(w.sym_sizes()));
            });
  return where_counted(mask, out).to(dtype);
}

Tensor scatter_meta(const Tensor& x, const Tensor& y, const optional<Tensor>& weight,
                    const optional<Tensor>& mask, const Tensor& range, int64_t bins, int64_t window,
                    int64_t order_x, int64_t order_y) {
  check_histogram(x, y, weight, mask, range, window, order_x, order_y);
  check_bins(bins, window);
  return at::empty_symint({x.sym_size(0), bins, bins}, x.options().dtype(exact_type(x, y, weight)));
}
Tensor gather_meta(const Tensor& x, const Tensor& y, const optional<Tensor>& mask,
                   const Tensor& range, const Tensor& table, int64_t window, int64_t order_x,
                   int64_t order_y, ScalarType dtype) {
  check_histogram(x, y, {}, mask, range, window, order_x, order_y);
  check_table(x, table, window);
  return at::empty_symint(x.sym_sizes(), x.options().dtype(dtype));
}

TORCH_LIBRARY_FRAGMENT(torch_infotheory, m) {
  m.def(
      "_soft_histogram(Tensor x, Tensor y, Tensor? weight, Tensor? mask, Tensor range, int bins, "
      "int window, int order_x, int order_y) -> Tensor",
      kTags);
  m.def(
      "_soft_histogram_gather(Tensor x, Tensor y, Tensor? mask, Tensor range, Tensor table, "
      "int window, int order_x, int order_y, ScalarType dtype) -> Tensor",
      kTags);
}
void register_compositions(torch::Library& m) {
  m.impl(kSoftHistogram, &scatter);
  m.impl(kSoftHistogramGather, &gather);
}
TORCH_LIBRARY_IMPL(torch_infotheory, CompositeExplicitAutograd, m) { register_compositions(m); }
// For torch.export, which decomposes the ops into ATen ops.
TORCH_LIBRARY_IMPL(torch_infotheory, CompositeImplicitAutograd, m) { register_compositions(m); }
TORCH_LIBRARY_IMPL(torch_infotheory, Meta, m) {
  m.impl(kSoftHistogram, &scatter_meta);
  m.impl(kSoftHistogramGather, &gather_meta);
}

}  // namespace
}  // namespace torch_infotheory
