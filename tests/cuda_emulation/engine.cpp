// engine.cpp -- the fibers behind engine.h.
//
// Compiled without a sanitizer, so that it sees the kernels alone; what the sanitizers must know of
// fibers and of memory order is told to them here.
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(EMULATION_ADDRESS)
#include <sanitizer/common_interface_defs.h>
#elif defined(EMULATION_THREAD)
#include <sanitizer/tsan_interface.h>
#endif

namespace cuda_emulation {

Index thread_index, block_index, block_size, grid_size;

namespace {

constexpr unsigned kWarp = 32, kMostThreads = 1024;
constexpr size_t kStack = 256 * 1024;  // sanitizers need large frames

// ---- a fiber, and the switch from one to another ----
struct Fiber {
  ucontext_t context;
  const void* stack = nullptr;
  size_t stack_size = 0;
  void* sanitizer = nullptr;  // ThreadSanitizer's name of this fiber
  void* frames = nullptr;     // AddressSanitizer's record of its stack
  bool done = true;
};

void switch_fibers(Fiber& from, Fiber& to, bool for_good) {
#if defined(EMULATION_ADDRESS)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from.frames, to.stack, to.stack_size);
#elif defined(EMULATION_THREAD)
  __tsan_switch_to_fiber(to.sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
  swapcontext(&from.context, &to.context);
#if defined(EMULATION_ADDRESS)
  __sanitizer_finish_switch_fiber(from.frames, nullptr, nullptr);
#endif
  (void)for_good;
}

// Memory order, as ThreadSanitizer is to know it.
void release(void* tag) {
#if defined(EMULATION_THREAD)
  __tsan_release(tag);
#endif
  (void)tag;
}
void acquire(void* tag) {
#if defined(EMULATION_THREAD)
  __tsan_acquire(tag);
#endif
  (void)tag;
}

bool is_ordered(const Place& place) {
  static const char* const unordered = getenv("CUDA_EMULATION_UNORDERED");
  if (!unordered) return true;
  const std::string here = std::string(place.file_name()) + ":" + std::to_string(place.line());
  const size_t n = strlen(unordered);
  return here.size() < n || here.compare(here.size() - n, n, unordered) != 0;
}

// ---- barriers of a block and of its warps ----
struct Barrier {
  unsigned arrived = 0;
  uint64_t round = 0;
  Place place;
  uint64_t values[2][kWarp];  // of this round and of the one before, which some may still read
  char tag = 0;
};

struct Block {
  Fiber threads[kMostThreads];
  std::vector<std::unique_ptr<char[]>> stacks;
  Fiber scheduler;
  Barrier all, warps[kMostThreads / kWarp];
  const std::function<void()>* kernel = nullptr;
  std::unique_ptr<unsigned char[]> shared;
  std::string error;
  unsigned current = 0, size = 0;
  bool moved = false;  // whether any thread went on since the scheduler last looked
  char begin = 0, end = 0;
} block;

void note(const std::string& what, const Place& place) {
  if (block.error.empty())
    block.error = what + " (" + place.file_name() + ":" + std::to_string(place.line()) +
                  ", block " + std::to_string(block_index.x) + ", thread " +
                  std::to_string(block.current) + ")";
}

// Waits until `number` threads have arrived, and returns the number of the round.
uint64_t arrive_and_wait(Barrier& at, unsigned number, const Place& place) {
  const uint64_t round = at.round;
  if (at.arrived == 0)
    at.place = place;
  else if (at.place.line() != place.line())
    note("threads wait at different barriers", place);
  block.moved = true;
  if (++at.arrived == number) {
    at.arrived = 0;
    ++at.round;
  }
  while (at.round == round) switch_fibers(block.threads[block.current], block.scheduler, false);
  return round;
}

void thread_main() {
#if defined(EMULATION_ADDRESS)
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler.stack, &block.scheduler.stack_size);
#endif
  acquire(&block.begin);
  (*block.kernel)();
  release(&block.end);
  Fiber& self = block.threads[block.current];
  self.done = block.moved = true;
  switch_fibers(self, block.scheduler, true);
}

void prepare_threads(unsigned size) {
  while (block.stacks.size() < size) {
    Fiber& fiber = block.threads[block.stacks.size()];
    block.stacks.emplace_back(new char[kStack]);
    fiber.stack = block.stacks.back().get();
    fiber.stack_size = kStack;
#if defined(EMULATION_THREAD)
    fiber.sanitizer = __tsan_create_fiber(0);
#endif
  }
  for (unsigned i = 0; i < size; ++i) {
    Fiber& fiber = block.threads[i];
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = block.stacks[i].get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, thread_main, 0);
  }
}

void run_block(unsigned size, size_t shared) {
  block.shared.reset(new unsigned char[shared]);  // exactly as large as asked: one more is an error
  memset(block.shared.get(), 0xFF, shared);
  block.all = Barrier();
  for (Barrier& warp : block.warps) warp = Barrier();
  prepare_threads(size);
  release(&block.begin);
  for (unsigned left = size; left > 0;) {
    block.moved = false;
    for (unsigned i = 0; i < size; ++i) {
      if (block.threads[i].done) continue;
      block.current = i;
      thread_index.x = i;
      switch_fibers(block.scheduler, block.threads[i], false);
      left -= block.threads[i].done;
    }
    if (left > 0 && !block.moved) {
      const Barrier* waiting = &block.all;
      for (const Barrier& warp : block.warps)
        if (warp.arrived) waiting = &warp;
      note("deadlock: a barrier or shuffle that not all threads reach", waiting->place);
      return;
    }
  }
  acquire(&block.end);
}

}  // namespace

void run(unsigned grid, unsigned size, size_t shared, const std::function<void()>& kernel) {
  static std::mutex one_at_a_time;  // autograd has threads of its own
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (grid == 0 || grid > 0x7fffffff || size == 0 || size > kMostThreads || size % kWarp)
    throw std::runtime_error("invalid launch: grid " + std::to_string(grid) + ", block " +
                             std::to_string(size));
#if defined(EMULATION_THREAD)
  block.scheduler.sanitizer = __tsan_get_current_fiber();
#endif
  static const char* const most_blocks = getenv("CUDA_EMULATION_BLOCKS");
  if (most_blocks) grid = std::min(grid, unsigned(atoi(most_blocks)));
  block.kernel = &kernel;
  block.size = size;
  block.error.clear();
  block_size = {size, 1, 1};
  grid_size = {grid, 1, 1};
  for (unsigned b = 0; b < grid && block.error.empty(); ++b) {
    block_index.x = b;
    run_block(size, shared);
  }
  block.shared.reset();
  if (!block.error.empty()) throw std::runtime_error(block.error);
}

void barrier(const Place& place) {
  const bool ordered = is_ordered(place);
  if (ordered) release(&block.all.tag);
  arrive_and_wait(block.all, block.size, place);
  if (ordered) acquire(&block.all.tag);
}

const uint64_t* exchange(uint32_t mask, uint64_t value, const Place& place) {
  if (mask != 0xffffffff) note("a shuffle that not all lanes take part in", place);
  Barrier& warp = block.warps[block.current / kWarp];
  warp.values[warp.round % 2][lane()] = value;
  return warp.values[arrive_and_wait(warp, kWarp, place) % 2];
}

void fault(const char* what, const Place& place) {
  note(std::string("device-side assert triggered: ") + what, place);
}

unsigned char* dynamic_shared() { return block.shared.get(); }
unsigned lane() { return block.current % kWarp; }

}  // namespace cuda_emulation
