// linear_losses.h -- what the public losses from hidden states have in common.
#pragma once
#include <algorithm>
#include <cmath>

#include "dispatch/arguments.h"
#include "dispatch/dims.h"
#include "dispatch/linear_composition.h"

namespace torch_infotheory {
namespace {

using optional_tensor = const optional<Tensor>&;

template <class F>
Tensor call_linear(const char* op, const LinearTensors& x, LinearOptions o, ScalarType dtype) {
  o.formula = index_of<F>(LinearFormulas{});
  for (size_t i = 0; i < x.size(); ++i) {
    if (!x[i].defined()) continue;
    o.present |= int64_t(1) << i;
    TORCH_CHECK(x[i].device() == x[kStates].device(), op, ": expected one device, got ",
                x[kStates].device(), " and ", x[i].device());
  }
  if (std::any_of(x.begin(), x.end(), [](const Tensor& t) { return t.defined() && is_wrapper(t); }))
    return Composition<F>(x, o).value(dtype);
  const LinearCall call(x, o);
  return std::get<0>(linear_op().call(call.tensors, call.ints, call.floats, dtype));
}

inline LinearOptions make_options(const char* op, int64_t reduction, optional<double> softcap,
                                  double temperature) {
  check_reduction(op, reduction);
  TORCH_CHECK_VALUE(!softcap || (std::isfinite(*softcap) && *softcap > 0), op,
                    ": expected softcap to be a finite number above 0, got ", softcap.value_or(0));
  check_temperature(op, temperature);
  LinearOptions o;
  o.reduction = reduction;
  o.softcap = softcap.value_or(0);
  o.temperature = temperature;
  return o;
}

}  // namespace
}  // namespace torch_infotheory
