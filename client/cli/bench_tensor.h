// A tensor for benchmarks, what is known of it, and what must come of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "kernels/scheme/plan.h"

namespace quantd::cli {

// Normally distributed values, the same in every run.
class BenchTensor {
 public:
  // INVALID_ARGUMENT for a scheme or a type that makes no plan of the shape.
  static absl::StatusOr<BenchTensor> Make(const SchemeRequest& scheme, DataType dtype, uint64_t rows, uint64_t columns);

  TensorView View() const { return {"bench", dtype_, shape_, *values_}; }
  // Of what View and Rows show.
  std::shared_ptr<const void> owner() const { return values_; }
  // Its first rows.
  TensorView Rows(uint64_t rows) const;
  // Statistics of the whole tensor that spare the server two passes.
  const KnownStatistics& statistics() const { return statistics_; }
  uint64_t value_bytes() const { return values_->size(); }
  // Of all segments that Quantize makes.
  uint64_t segment_bytes() const { return segment_bytes_; }

 private:
  DataType dtype_{};
  std::vector<uint64_t> shape_;
  std::shared_ptr<const std::vector<std::byte>> values_;
  KnownStatistics statistics_;
  uint64_t segment_bytes_ = 0;
};

// Keeps the CRC32C of what comes, and its first bytes.
class DigestSink final : public SegmentSink {
 public:
  static constexpr uint64_t kPrefixBytesMax = 64 << 10;
  struct Digest {
    uint64_t bytes = 0;
    uint32_t crc = 0;
    std::vector<std::byte> prefix;
    bool operator==(const Digest&) const = default;
  };

  absl::Status Begin(const SchemeRequest&, std::span<const SegmentView>, std::span<const uint64_t>) override;
  absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override;
  const std::map<std::string, Digest>& segments() const { return segments_; }

 private:
  std::map<std::string, Digest> segments_;
};

}  // namespace quantd::cli
