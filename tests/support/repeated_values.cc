#include "tests/support/repeated_values.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "tests/support/tensor_runner.h"

namespace quantd::testing {

RepeatedValues::RepeatedValues(uint64_t bytes) : bytes_(bytes), memfd_(memfd_create("values", MFD_CLOEXEC)) {
  if (memfd_ < 0 || ftruncate(memfd_, kPeriodBytes) != 0) throw std::runtime_error("no memory for the values");
  void* base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::runtime_error("no address space for the values");
  base_ = static_cast<std::byte*>(base);
  for (uint64_t at = 0; at < bytes; at += kPeriodBytes) {
    if (mmap(base_ + at, kPeriodBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memfd_, 0) == MAP_FAILED) {
      throw std::runtime_error("no address space for the values");
    }
  }
  auto random = MakeRandom(11);
  const Bytes values = BytesOf(RandomTensor(random, kPeriodBytes / sizeof(float), 64));
  std::memcpy(base_, values.data(), values.size());
}

RepeatedValues::~RepeatedValues() {
  munmap(base_, bytes_);
  close(memfd_);
}

absl::Status PeriodicCodes::Begin(const SchemeRequest&, std::span<const SegmentView>, std::span<const uint64_t>) {
  return absl::OkStatus();
}

absl::Status PeriodicCodes::Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) {
  if (segment != "codes") return absl::OkStatus();
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    const uint64_t at = offset % kPeriodBytes;
    const auto part = bytes.first(std::min<uint64_t>(bytes.size(), kPeriodBytes - at));
    if (offset < kPeriodBytes) {
      first_.insert(first_.end(), part.begin(), part.end());
    } else if (std::memcmp(part.data(), first_.data() + at, part.size()) != 0) {
      return absl::InternalError("the codes at byte " + std::to_string(offset) + " are not those of the first period");
    }
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
  return absl::OkStatus();
}

}  // namespace quantd::testing
