// stream.h -- the current device and stream of torch, and the check for launch errors.
//
// Includes c10/cuda only, because ATen/cuda needs the headers of every CUDA library.
#pragma once
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda/device.h"

namespace torch_infotheory::device {

using Guard = c10::cuda::CUDAGuard;

inline Stream current_stream() { return c10::cuda::getCurrentCUDAStream().stream(); }
inline void check_launches() { C10_CUDA_KERNEL_LAUNCH_CHECK(); }

}  // namespace torch_infotheory::device
