// plan.h -- selects the kernel of a call and its launch geometry.
#pragma once
#include <type_traits>

#include "core/sources.h"
#include "cuda/device_rows.h"

namespace torch_infotheory {

// Replaces a Type or a Kind that is only known at run time. One kernel that supports every type and
// kind costs a few more instructions for each pack; the most common ones have specialized kernels.
constexpr int kDynamic = -1;

template <class A, int type>
constexpr int kPackSize = 16 / int(type == kDynamic ? sizeof(A) : size_of(Type(type)));

struct Plan {
  bool in_double;
  int type;  // of the operands of a specialized kernel, or kDynamic
  RowShape shape;
  Geometry geometry;
};

namespace {

// The operand that has the class dimension.
inline const Operand& full_operand(const Rows& r) { return r.p.kind == kLabels ? r.q : r.p; }

// There are specialized kernels for logits of one type, and for labels with logits, without
// smoothing; class weights only with labels.
template <class F>
int specialized_type(const Rows& r) {
  if constexpr (!is_table<F>) {
    const bool plain = r.label_smoothing == 0 && !r.elementwise;
    const Operand& full = full_operand(r);
    if (!plain || full.kind != kLogits || full.temperature != 1) return kDynamic;
    if (r.p.kind == kLabels) return F::arity == 2 && F::linear ? r.q.type : kDynamic;
    const bool same_type = F::arity == 1 || (r.q.kind == kLogits && r.q.type == r.p.type);
    if (!r.weight && same_type) return r.p.type;
  }
  return kDynamic;
}

template <class F>
Plan plan_for(const Rows& r) {
  const Operand& x = full_operand(r);
  Plan plan;
  plan.in_double = x.type == kDouble || (F::arity == 2 && r.q.type == kDouble);
  plan.type = specialized_type<F>(r);
  const int last = r.rank - 1;
  const bool contiguous_rows = last >= 0 && x.row_strides && x.row_strides[last] == 1;
  const int64_t size = plan.type != kDynamic ? size_of(Type(plan.type)) : plan.in_double ? 8 : 4;
  plan.shape = {r.rows, r.classes, int(16 / size), x.class_stride == 1 || !contiguous_rows};
  return plan;
}
template <class F>
Plan plan_forward(const Rows& r, bool reduced, size_t (*max_dynamic_shared)()) {
  Plan plan = plan_for<F>(r);
  if constexpr (!is_table<F>) {
    Geometry& g = plan.geometry;
    const bool is_elementwise = r.elementwise && !reduced;
    g = is_elementwise ? elementwise_geometry(plan.shape) : forward_geometry(plan.shape);
    if (!is_elementwise && !F::linear && plan.type != kDynamic && g.segments == 1)
      reserve_cache(g, plan.shape, F::arity, max_dynamic_shared());
  }
  return plan;
}
template <class F>
Plan plan_backward(const Rows& r) {
  Plan plan = plan_for<F>(r);
  if constexpr (!is_table<F>) plan.geometry = elementwise_geometry(plan.shape);
  return plan;
}

// Calls visit with the compute type and with the type in memory or kDynamic, both as constants.
template <class A>
using ComputeType = std::type_identity<A>;
template <int type>
using MemoryType = std::integral_constant<int, type>;
template <class Visit>
void dispatch_type(const Plan& plan, Visit visit) {
  switch (plan.type) {
    case kFloat:
      return visit(ComputeType<float>{}, MemoryType<kFloat>{});
    case kDouble:
      return visit(ComputeType<double>{}, MemoryType<kDouble>{});
    case kBFloat16:
      return visit(ComputeType<float>{}, MemoryType<kBFloat16>{});
    case kHalf:
      return visit(ComputeType<float>{}, MemoryType<kHalf>{});
    default:
      if (plan.in_double)
        visit(ComputeType<double>{}, MemoryType<kDynamic>{});
      else
        visit(ComputeType<float>{}, MemoryType<kDynamic>{});
  }
}

}  // namespace
}  // namespace torch_infotheory
