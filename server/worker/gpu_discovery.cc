#include "server/worker/gpu_discovery.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string_view>

namespace quantd::server {
namespace {

constexpr const char* kDriverDevice = "/dev/nvidiactl";
constexpr size_t kUuidBytesMax = 96;

// The part of NVML that is needed; declared here so that nothing of CUDA is needed to build.
class Nvml {
 public:
  using Device = void*;

  static std::unique_ptr<Nvml> Load() {
    void* const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return nullptr;
    std::unique_ptr<Nvml> nvml(new Nvml(library));
    return nvml->initialized_ ? std::move(nvml) : nullptr;
  }
  ~Nvml() {
    if (initialized_) shutdown_();
    dlclose(library_);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  std::vector<std::string> Uuids() const {
    std::vector<std::string> uuids;
    unsigned count = 0;
    if (count_(&count) != 0) return uuids;
    for (unsigned index = 0; index < count; ++index) {
      Device device = nullptr;
      if (by_index_(index, &device) != 0) continue;
      std::vector<std::string> instances = MigUuids(device);
      if (instances.empty()) instances.push_back(UuidOf(device));
      uuids.insert(uuids.end(), instances.begin(), instances.end());
    }
    std::erase(uuids, std::string());
    return uuids;
  }

  std::optional<uint64_t> UsedBytes(const std::string& uuid) const {
    Device device = nullptr;
    Memory memory{};
    const bool known = by_uuid_ != nullptr && memory_info_ != nullptr && by_uuid_(uuid.c_str(), &device) == 0 &&
                       memory_info_(device, &memory) == 0;
    return known ? std::optional<uint64_t>(memory.used) : std::nullopt;
  }

 private:
  // nvmlMemory_t
  struct Memory {
    unsigned long long total, free, used;
  };

  explicit Nvml(void* library) : library_(library) {
    int (*init)() = nullptr;
    const bool complete = Find("nvmlInit_v2", init) && Find("nvmlShutdown", shutdown_) &&
                          Find("nvmlDeviceGetCount_v2", count_) && Find("nvmlDeviceGetHandleByIndex_v2", by_index_) &&
                          Find("nvmlDeviceGetUUID", uuid_);
    Find("nvmlDeviceGetHandleByUUID", by_uuid_);
    Find("nvmlDeviceGetMemoryInfo", memory_info_);
    Find("nvmlDeviceGetMaxMigDeviceCount", mig_count_);
    Find("nvmlDeviceGetMigDeviceHandleByIndex", mig_by_index_);
    initialized_ = complete && init() == 0;
  }

  template <class Function>
  bool Find(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    return function != nullptr;
  }

  std::vector<std::string> MigUuids(Device device) const {
    std::vector<std::string> uuids;
    unsigned count = 0;
    if (mig_count_ == nullptr || mig_by_index_ == nullptr || mig_count_(device, &count) != 0) return uuids;
    for (unsigned index = 0; index < count; ++index) {
      Device instance = nullptr;
      if (mig_by_index_(device, index, &instance) == 0) uuids.push_back(UuidOf(instance));
    }
    return uuids;
  }

  std::string UuidOf(Device device) const {
    std::array<char, kUuidBytesMax> text{};
    return uuid_(device, text.data(), text.size()) == 0 ? std::string(text.data()) : std::string();
  }

  void* const library_;
  bool initialized_ = false;
  int (*shutdown_)() = nullptr;
  int (*count_)(unsigned*) = nullptr;
  int (*by_index_)(unsigned, Device*) = nullptr;
  int (*uuid_)(Device, char*, unsigned) = nullptr;
  int (*by_uuid_)(const char*, Device*) = nullptr;
  int (*memory_info_)(Device, Memory*) = nullptr;
  int (*mig_count_)(Device, unsigned*) = nullptr;
  int (*mig_by_index_)(Device, unsigned, Device*) = nullptr;
};

bool Exists(std::string_view entry, const std::vector<std::string>& gpus) {
  size_t number = 0;
  const char* const end = entry.data() + entry.size();
  if (const auto [parsed_to, error] = std::from_chars(entry.data(), end, number);
      error == std::errc() && parsed_to == end) {
    return number < gpus.size();
  }
  // An instance may be visible although its GPU's others are listed: CUDA knows.
  if (entry.starts_with("MIG-")) return true;
  return entry.starts_with("GPU-") &&
         std::any_of(gpus.begin(), gpus.end(), [&](const std::string& gpu) { return gpu.starts_with(entry); });
}

std::string_view WithoutSpaces(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<std::string> ListNvidiaGpus() {
  if (access(kDriverDevice, F_OK) != 0) return {};
  const auto nvml = Nvml::Load();
  return nvml == nullptr ? std::vector<std::string>() : nvml->Uuids();
}

std::optional<uint64_t> UsedGpuBytes(const std::string& uuid) {
  if (access(kDriverDevice, F_OK) != 0) return std::nullopt;
  const auto nvml = Nvml::Load();
  return nvml == nullptr ? std::nullopt : nvml->UsedBytes(uuid);
}

std::vector<std::string> VisibleGpus(const std::optional<std::string>& visible_devices,
                                     const std::function<std::vector<std::string>()>& list) {
  if (visible_devices.has_value() && visible_devices->empty()) return {};
  std::vector<std::string> gpus = list();
  if (visible_devices.has_value() && !gpus.empty()) {
    std::vector<std::string> chosen;
    std::string_view rest = *visible_devices;
    while (true) {
      const std::string entry(WithoutSpaces(rest.substr(0, rest.find(','))));
      if (!Exists(entry, gpus) || std::ranges::find(chosen, entry) != chosen.end()) break;
      chosen.push_back(entry);
      if (rest.find(',') == std::string_view::npos) break;
      rest.remove_prefix(rest.find(',') + 1);
    }
    gpus = std::move(chosen);
  }
  if (gpus.size() > kGpusMax) gpus.resize(kGpusMax);
  return gpus;
}

}  // namespace quantd::server
