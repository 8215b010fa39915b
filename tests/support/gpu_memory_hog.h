// All of the first GPU's memory that is free, until destroyed.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace quantd::testing {

// By the driver itself, so that the tests need nothing of CUDA to be built.
class GpuMemoryHog {
 public:
  GpuMemoryHog() {
    int (*init)(unsigned) = nullptr;
    int (*device_of)(int*, int) = nullptr;
    int (*retain)(void**, int) = nullptr;
    int (*make_current)(void*) = nullptr;
    int (*allocate)(uint64_t*, size_t) = nullptr;
    Find("cuInit", init);
    Find("cuDeviceGet", device_of);
    Find("cuDevicePrimaryCtxRetain", retain);
    Find("cuDevicePrimaryCtxRelease_v2", release_);
    Find("cuCtxSetCurrent", make_current);
    Find("cuMemAlloc_v2", allocate);
    Find("cuMemFree_v2", free_);
    void* context = nullptr;
    if (init(0) != 0 || device_of(&device_, 0) != 0 || retain(&context, device_) != 0 || make_current(context) != 0) {
      throw std::runtime_error("the GPU cannot be used by a second process");
    }
    for (size_t bytes = size_t{1} << 34; bytes >= size_t{1} << 20; bytes /= 2) {
      for (uint64_t memory = 0; allocate(&memory, bytes) == 0;) memory_.push_back(memory);
    }
  }
  ~GpuMemoryHog() {
    for (const uint64_t memory : memory_) free_(memory);
    release_(device_);
  }
  GpuMemoryHog(const GpuMemoryHog&) = delete;
  GpuMemoryHog& operator=(const GpuMemoryHog&) = delete;

 private:
  template <class Function>
  void Find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(driver_, name));
    if (function == nullptr) throw std::runtime_error(std::string("the driver has no ") + name);
  }

  void* const driver_ = dlopen("libcuda.so.1", RTLD_NOW);
  int (*release_)(int) = nullptr;
  int (*free_)(uint64_t) = nullptr;
  int device_ = 0;
  std::vector<uint64_t> memory_;
};

}  // namespace quantd::testing
