// engine.h -- runs a CUDA kernel on the CPU: every CUDA thread is a fiber of one operating system
// thread, and blocks run one after another.
//
// What this shows: values, accesses out of bounds (AddressSanitizer), data races inside a block
// (ThreadSanitizer), barriers and shuffles that not all threads reach. What it cannot show:
// anything about time, and races between blocks. Knows threads, barriers and warps; must not know
// any kernel, nor torch. Read next: cuda_runtime.h, which gives these functions CUDA's names.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <source_location>

namespace cuda_emulation {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// Of the running thread. Blocks and grids have one dimension.
extern Index thread_index, block_index, block_size, grid_size;

using Place = std::source_location;

// Runs `kernel` for every thread. Raises std::runtime_error if the launch is not valid, if threads
// wait for others forever, or if one of them called `fault`. CUDA_EMULATION_BLOCKS makes large
// grids smaller: kernels that loop over their work must take any grid.
void run(unsigned grid, unsigned block, size_t shared, const std::function<void()>& kernel);

// Waits for all threads of the block. It orders memory, unless CUDA_EMULATION_UNORDERED names its
// place as "file:line": then the threads still meet, but ThreadSanitizer does not know.
void barrier(const Place& place);

// Gives the values that the 32 lanes of the warp passed. It orders no memory.
const uint64_t* exchange(uint32_t mask, uint64_t value, const Place& place);

// A failed device-side assertion. The thread goes on, so that what it does next is seen too.
void fault(const char* what, const Place& place);

// The dynamic shared memory of the block, filled with NaN.
unsigned char* dynamic_shared();
unsigned lane();

}  // namespace cuda_emulation
