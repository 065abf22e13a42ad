// cpu.h -- CPU functions for losses from hidden states that bypass the dispatcher.
#pragma once
#include "dispatch/signature.h"

namespace torch_infotheory {

// Backward of a row op into an existing tensor of the shape of the gradient and any floating-point
// type. `formula` is an index into RowFormulas.
using WriteGradient = void(const Tensor& g, const Operands& x, const Tensor& saved,
                           const Options& o, int64_t wrt, const Tensor& gradient);
WriteGradient* gradient_writer_cpu(int formula);

// Whether this processor multiplies bfloat16 matrices natively and accumulates in float32.
bool multiplies_bfloat16();
// out = beta * out + alpha * a @ b with `out` in float32 and the factors in bfloat16. Requires
// multiplies_bfloat16().
void multiply_bfloat16(const Tensor& out, const Tensor& a, const Tensor& b, double beta,
                       double alpha);
// Splits float32 x into x ~ high + low, both bfloat16.
void split_bfloat16(const Tensor& x, const Tensor& high, const Tensor& low);

}  // namespace torch_infotheory
