// cpu.h -- CPU functions for losses from hidden states that bypass the dispatcher.
#pragma once
#include "core/formulas.h"
#include "dispatch/signature.h"

namespace torch_infotheory {

// Backward of a row op into an existing tensor of the shape of the gradient and any floating-point
// type, which may be the operand itself. `formula` is an index into RowFormulas.
using WriteGradient = void(const Tensor& g, const Operands& x, const Tensor& saved,
                           const Options& o, int64_t wrt, const Tensor& gradient);
WriteGradient* gradient_writer_cpu(int formula);

// Backward of a row op into `out` or, if that is undefined, into a tensor that the op allocates.
template <class F>
Tensor backward_into(const Tensor& g, const Operands& x, const Tensor& saved, const Options& o,
                     int64_t wrt, const Tensor& out) {
  if (!out.defined()) return call_backward<F>(g, x, saved, o, wrt);
  gradient_writer_cpu(index_of<F>(RowFormulas{}))(g, x, saved, o, wrt, out);
  return out;
}

// Whether this processor multiplies bfloat16 matrices natively and accumulates in float32.
bool multiplies_bfloat16();
// out = beta * out + alpha * a @ b with `out` in float32 and the factors in bfloat16. Requires
// multiplies_bfloat16().
void multiply_bfloat16(const Tensor& out, const Tensor& a, const Tensor& b, double beta,
                       double alpha);
// Replaces each row of the contiguous float32 matrix x, in the same memory, by two rows of
// bfloat16: x rounded to nearest, and the rest rounded to nearest.
void split_bfloat16(const Tensor& x);

}  // namespace torch_infotheory
