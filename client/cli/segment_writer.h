// Puts the segments that a call makes into tensors of a safetensors file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "server/conversion/safetensors_writer.h"

namespace quantd::cli {

// A segment that the call must make, and the file's tensor that it becomes.
struct ExpectedSegment {
  std::string segment;
  std::string tensor;
  DataType dtype{};
  std::vector<uint64_t> shape;
  uint64_t bytes = 0;
};

class SegmentWriter final : public SegmentSink {
 public:
  // Both must outlive this object.
  SegmentWriter(const SchemeRequest& scheme, const std::vector<ExpectedSegment>& expected,
                server::SafetensorsWriter& writer)
      : scheme_(scheme), expected_(expected), writer_(writer) {}

  // FAILED_PRECONDITION where the server's scheme or segments are not the expected ones.
  absl::Status Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                     std::span<const uint64_t> sizes) override;
  absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override;

  uint64_t written_bytes() const { return written_bytes_; }

 private:
  const SchemeRequest& scheme_;
  const std::vector<ExpectedSegment>& expected_;
  server::SafetensorsWriter& writer_;
  std::map<std::string, std::string> tensor_of_;
  uint64_t written_bytes_ = 0;
};

}  // namespace quantd::cli
