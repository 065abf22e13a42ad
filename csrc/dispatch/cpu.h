// cpu.h -- what the CPU has for losses from hidden states beside the row ops.
//
// Knows tensors; must not know formulas by name.
#pragma once
#include "dispatch/signature.h"

namespace torch_infotheory {

// Backward of a row op into memory that is there: of the shape of the gradient and of any floating
// type. By the place of the formula in RowFormulas.
using WriteGradient = void(const Tensor& g, const Operands& x, const Tensor& saved,
                           const Options& o, int64_t wrt, const Tensor& gradient);
WriteGradient* gradient_writer_cpu(int formula);

// Whether this processor multiplies bfloat16 matrices itself, with sums in float32.
bool multiplies_bfloat16();
// out = beta out + alpha a b, `out` in float32 and the factors in bfloat16; where it does.
void multiply_bfloat16(const Tensor& out, const Tensor& a, const Tensor& b, double beta,
                       double alpha);
// x = high + low, of bfloat16 both: the first 16 bits of float32.
void split_bfloat16(const Tensor& x, const Tensor& high, const Tensor& low);

}  // namespace torch_infotheory
