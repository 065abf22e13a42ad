// recorder.cpp -- what the simulator saw of each launch, for the tests in this process.
//
// The simulator's pretend CUDA runtime (fakecuda) calls the simulator through its C interface. This
// library is loaded before it and stands in between: it loads the PTX of all files, makes warnings
// errors, and keeps the report, the device and the stream of every launch until Python takes them.
// It also lets one thread at a time into fakecuda, which keeps its memory in plain maps: a thread
// of autograd may still free what it held when the thread that waited for it goes on.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <mutex>
#include <sstream>
#include <string>

#include "ptxsim.h"

namespace {

struct Size {  // dim3
  unsigned x, y, z;
};

ptxsim_ctx* context = nullptr;
void* stream = nullptr;  // of the launch that is being made
std::string launches, taken;
std::string variant;  // see recorder_use
uint32_t most_blocks = UINT32_MAX;
std::map<const void*, int> granted;  // dynamic shared memory that a kernel has asked for
std::recursive_mutex simulator;      // fakecuda calls back into this file

template <class Function>
Function* next(Function*, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define NEXT(function) next(&function, #function)
#define ONE_THREAD_AT_A_TIME const std::lock_guard<std::recursive_mutex> lock(simulator)

}  // namespace

extern "C" {

int cudaGetDevice(int* device);  // of fakecuda

// What fakecuda leaves out: the shared memory of an A100, and the kernels that ask for more of it
// than the simulator gives to others.
int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  constexpr int kSharedOfProcessor = 81, kReservedOfBlock = 111;  // as in cudaDeviceAttr
  if (attribute == kSharedOfProcessor) return *value = 164 * 1024, 0;
  if (attribute == kReservedOfBlock) return *value = 1024, 0;
  return NEXT(cudaDeviceGetAttribute)(value, attribute, device);
}
int cudaFuncSetAttribute(const void* kernel, int, int value) {
  ONE_THREAD_AT_A_TIME;
  granted[kernel] = value;
  return 0;
}

// The simulator's limit is on static shared memory as well, which no kernel has more of than this.
void before_launch(const void* kernel, void* on) {
  constexpr int kStatic = 2048;
  stream = on;
  const int limit = granted.count(kernel) ? granted[kernel] + kStatic : 0;
  if (context) ptxsim_set_option(context, "smem_optin", std::to_string(limit).c_str());
}
int cudaLaunchKernel(const void* kernel, Size grid, Size block, void** arguments, size_t shared,
                     void* on) {
  ONE_THREAD_AT_A_TIME;
  before_launch(kernel, on);
  return NEXT(cudaLaunchKernel)(kernel, grid, block, arguments, shared, on);
}
int __cudaLaunchKernel(void* kernel, Size grid, Size block, void** arguments, size_t shared,
                       void* on) {
  ONE_THREAD_AT_A_TIME;
  before_launch(kernel, on);
  return NEXT(__cudaLaunchKernel)(kernel, grid, block, arguments, shared, on);
}

int cudaMalloc(void** memory, size_t bytes) {
  ONE_THREAD_AT_A_TIME;
  return NEXT(cudaMalloc)(memory, bytes);
}
int cudaFree(void* memory) {
  ONE_THREAD_AT_A_TIME;
  return NEXT(cudaFree)(memory);
}
int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, void* on) {
  ONE_THREAD_AT_A_TIME;
  return NEXT(cudaMemcpyAsync)(to, from, bytes, kind, on);
}
int cudaMemsetAsync(void* memory, int value, size_t bytes, void* on) {
  ONE_THREAD_AT_A_TIME;
  return NEXT(cudaMemsetAsync)(memory, value, bytes, on);
}
int cudaPointerGetAttributes(void* attributes, const void* memory) {
  ONE_THREAD_AT_A_TIME;
  return NEXT(cudaPointerGetAttributes)(attributes, memory);
}

// Takes the simulator's options from CUDA_SIM_OPTIONS, as "key=value key=value".
ptxsim_ctx* ptxsim_create() {
  context = NEXT(ptxsim_create)();
  const char* const options = getenv("CUDA_SIM_OPTIONS");
  std::istringstream words(options ? options : "");
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (ptxsim_set_option(context, word.substr(0, equals).c_str(),
                          word.substr(equals + 1).c_str())) {
      fprintf(stderr, "recorder: the simulator takes no option %s\n", word.c_str());
      abort();
    }
  }
  return context;
}

int ptxsim_set_option(ptxsim_ctx* sim, const char* key, const char* value) {
  return NEXT(ptxsim_set_option)(sim, key, strcmp(key, "strict") == 0 ? "1" : value);
}

// `paths`: several files, with colons between.
int ptxsim_load_file(ptxsim_ctx* sim, const char* paths) {
  int module = -1;
  const std::string list = paths;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end =
        list.find(':', begin) == std::string::npos ? list.size() : list.find(':', begin);
    module = NEXT(ptxsim_load_file)(sim, list.substr(begin, end - begin).c_str());
    if (module < 0) return module;
    begin = end + 1;
  }
  return module;
}

int ptxsim_launch_ptrs(ptxsim_ctx* sim, const char* name, uint32_t gx, uint32_t gy, uint32_t gz,
                       uint32_t bx, uint32_t by, uint32_t bz, uint32_t shared, void** arguments) {
  const std::string kernel = name + variant;
  gx = gx < most_blocks ? gx : most_blocks;
  const int result =
      NEXT(ptxsim_launch_ptrs)(sim, kernel.c_str(), gx, gy, gz, bx, by, bz, shared, arguments);
  int device = -1;
  cudaGetDevice(&device);
  const auto field = [](const char* key, size_t value) {
    return std::string("\"") + key + "\":" + std::to_string(value) + ",";
  };
  launches += (launches.empty() ? "{" : ",{") + field("grid", gx) + field("block", bx) +
              field("shared", shared) + field("device", device) +
              field("stream", reinterpret_cast<size_t>(stream)) +
              "\"report\":" + (result < 0 ? "null" : ptxsim_report_json(sim)) + "}";
  return result;
}

// For Python: the launches since the last call, as JSON; the simulator's options; and further PTX,
// whose kernels have names with `ending`: they run from recorder_use(ending) on.
const char* recorder_take() {
  ONE_THREAD_AT_A_TIME;
  taken = "[" + launches + "]";
  launches.clear();
  return taken.c_str();
}
int recorder_set_option(const char* key, const char* value) {
  return context ? ptxsim_set_option(context, key, value) : -1;
}
int recorder_load(const char* path) {
  return context && ptxsim_load_file(context, path) >= 0 ? 0 : -1;
}
void recorder_use(const char* ending) { variant = ending; }
// Larger grids become this small: kernels that loop over their work must take any grid.
void recorder_limit_blocks(uint32_t most) { most_blocks = most; }

}  // extern "C"
