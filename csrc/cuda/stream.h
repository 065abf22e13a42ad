// stream.h -- the device and the stream that torch would run on, and the errors of launches.
//
// Knows torch; includes c10/cuda only, for ATen/cuda wants the headers of every CUDA library.
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
