// The results of a tensor's parts, each written where it belongs in the whole tensor's segments.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "client/cpp/client.h"

namespace quantd {

class JoinedSegments {
 public:
  // `layout`: what the whole tensor's results are.
  explicit JoinedSegments(const std::vector<SegmentLayout>& layout) : layout_(layout) {}

  // Where one part's results go. Sinks of different parts may be used at the same time; `parent` must outlive them. Of
  // segments that belong to the whole tensor those of the part that `is_first` count.
  class PartSink final : public SegmentSink {
   public:
    PartSink(JoinedSegments& parent, bool is_first) : parent_(parent), is_first_(is_first) {}
    // FAILED_PRECONDITION where the server promises anything but `layout`, or parts have different schemes.
    // RESOURCE_EXHAUSTED without memory.
    absl::Status Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                       std::span<const uint64_t> sizes) override;
    absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override;

   private:
    JoinedSegments& parent_;
    const bool is_first_;
  };

  // After all parts.
  SchemeRequest TakeScheme() { return std::move(scheme_); }
  std::vector<Segment> TakeSegments() { return std::move(segments_); }

 private:
  absl::Status BeginPart(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                         std::span<const uint64_t> sizes);

  const std::vector<SegmentLayout>& layout_;
  std::mutex mutex_;
  // Written under the mutex, by the part that begins first; read without, by parts that have begun.
  SchemeRequest scheme_;
  std::vector<Segment> segments_;
};

}  // namespace quantd
