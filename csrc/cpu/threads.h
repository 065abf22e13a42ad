// threads.h -- torch's own thread pool, without OpenMP in this library.
#pragma once
#include <c10/util/Exception.h>
#include <torch/csrc/stable/c/shim.h>

namespace torch_infotheory {

// Calls loop(begin, end) for [0, n) in pieces of at least `grain`. It must not throw.
template <class Loop>
void parallel_for(int64_t n, int64_t grain, const Loop& loop) {
  if (n <= 0) return;
  if (n <= grain) return loop(0, n);
  const auto call = [](int64_t begin, int64_t end, void* context) {
    (*static_cast<const Loop*>(context))(begin, end);
  };
  const auto status =
      torch_parallel_for(0, n, grain, call, const_cast<void*>(static_cast<const void*>(&loop)));
  TORCH_CHECK(status == 0, "torch_infotheory: torch_parallel_for failed");
}

}  // namespace torch_infotheory
