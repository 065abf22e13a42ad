// device.h -- stands in for csrc/cuda/device.h: a launch runs the kernel on fibers, at once.
#pragma once
#include "cuda/launch_config.h"
#include "cuda_halves.h"

#define TI_DYNAMIC_SHARED(name) unsigned char* name = ::cuda_emulation::dynamic_shared()

namespace torch_infotheory::device {

struct Stream {};

inline void device_check(bool ok, cuda_emulation::Place place = cuda_emulation::Place::current()) {
  if (!ok) cuda_emulation::fault("a check in a kernel failed", place);
}

template <class A>
A computed_once(A x) {
  return x;
}

template <class... P, class... A>
void launch(void (*kernel)(P...), const Geometry& g, Stream, const A&... a) {
  cuda_emulation::run(g.grid, g.block, g.shared, [&] { kernel(P(a)...); });
}

// More than the default.
inline size_t max_dynamic_shared() { return 64 * 1024; }

}  // namespace torch_infotheory::device
