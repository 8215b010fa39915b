// A tensor that is large in the address space and small in memory, and a sink that knows what must come of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "client/cpp/client.h"

namespace quantd::testing {

// Many times the same 64 MiB of float32, one after another. `bytes` is a multiple of kPeriodBytes. Throws
// std::runtime_error without memory.
class RepeatedValues {
 public:
  static constexpr uint64_t kPeriodBytes = 64 << 20;

  explicit RepeatedValues(uint64_t bytes);
  ~RepeatedValues();
  RepeatedValues(const RepeatedValues&) = delete;
  RepeatedValues& operator=(const RepeatedValues&) = delete;

  std::span<const std::byte> bytes() const { return {base_, bytes_}; }
  TensorView View() const { return {"repeated", DataType::kFloat32, {bytes_ / sizeof(float)}, bytes()}; }

 private:
  const uint64_t bytes_;
  const int memfd_;
  std::byte* base_ = nullptr;
};

// For their 4-bit codes: every period must be the first one again. Keeps one period.
class PeriodicCodes final : public SegmentSink {
 public:
  absl::Status Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                     std::span<const uint64_t> sizes) override;
  // INTERNAL at the first byte that differs.
  absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override;
  // Of the codes.
  uint64_t bytes() const { return bytes_; }

 private:
  static constexpr uint64_t kPeriodBytes = RepeatedValues::kPeriodBytes / 8;
  std::vector<std::byte> first_;
  uint64_t bytes_ = 0;
};

}  // namespace quantd::testing
