// Which GPUs there are, without CUDA: asking CUDA would make a context on each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace quantd::server {

inline constexpr size_t kGpusMax = 16;

// UUIDs of the GPUs of this machine that this process may use, or of their MIG instances where they have some; none
// without NVIDIA's driver, which takes one look at /dev. Asks NVML, which is loaded and let go of again.
std::vector<std::string> ListNvidiaGpus();

// Memory of the GPU or MIG instance with that UUID that is in use, by all processes together; nothing where NVML does
// not know it. Makes no context.
std::optional<uint64_t> UsedGpuBytes(const std::string& uuid);

// What each worker is to have as its CUDA_VISIBLE_DEVICES: all of `list()`, or what the variable of this process names,
// read as CUDA reads it: numbers and UUIDs (their beginnings suffice), up to the first that does not exist or comes
// again. At most kGpusMax.
std::vector<std::string> VisibleGpus(const std::optional<std::string>& visible_devices,
                                     const std::function<std::vector<std::string>()>& list = ListNvidiaGpus);

}  // namespace quantd::server
