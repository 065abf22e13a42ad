// huge_pages.h -- large fresh results on huge pages.
//
// The first touch of 4 KB pages costs more than computing the gradient that is written to them.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdlib>
#include <string_view>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace torch_infotheory {

// A hint only: its failure is ignored. TORCH_INFOTHEORY_HUGE_PAGES=0 turns it off.
inline void advise_huge_pages([[maybe_unused]] const at::Tensor& fresh) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  // From this size on glibc maps a block on its own and unmaps it when it is freed, so that the
  // hint does not outlive the tensor.
  constexpr size_t own_mapping = size_t(32) << 20;
  static const bool enabled = [] {
    const char* set = std::getenv("TORCH_INFOTHEORY_HUGE_PAGES");
    return !set || std::string_view(set) != "0";
  }();
  if (!enabled || fresh.nbytes() < own_mapping) return;
  const size_t page = size_t(sysconf(_SC_PAGESIZE)),
               begin = reinterpret_cast<size_t>(fresh.mutable_data_ptr());
  const size_t first = (begin + page - 1) / page * page,
               last = (begin + fresh.nbytes()) / page * page;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace torch_infotheory
