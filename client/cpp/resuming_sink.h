// A call's results from several streams, one after another, as if they came from one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "quantd/v1/tensor.pb.h"

namespace quantd {

// Hands on what is new and drops what `target` has already: equal bytes, because a scheme's bytes do not depend on who
// computes them. Used by one thread; `target` must outlive it.
class ResumingSink final : public SegmentSink {
 public:
  explicit ResumingSink(SegmentSink& target) : target_(target) {}

  // Hands on the first one. FAILED_PRECONDITION where a later stream promises anything else.
  absl::Status Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                     std::span<const uint64_t> sizes) override;
  // The first bytes of a segment may begin anywhere. INTERNAL for bytes that leave a gap.
  absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override;

  // How far `target` has each segment.
  std::vector<v1::ReceivedSegment> received() const;
  // Of all segments together.
  uint64_t delivered_bytes() const { return delivered_bytes_; }

 private:
  bool begun() const { return !next_.empty(); }

  SegmentSink& target_;
  SchemeRequest scheme_;
  std::vector<SegmentView> segments_;
  std::vector<uint64_t> sizes_;
  std::map<std::string, std::optional<uint64_t>> next_;  // byte of each segment; none before its first
  uint64_t delivered_bytes_ = 0;
};

}  // namespace quantd
