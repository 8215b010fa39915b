// Collects the results of a call in memory.
#pragma once

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"

namespace quantd {

// What a call into memory brings.
struct MemoryResult {
  SchemeRequest scheme;
  std::vector<Segment> segments;
  Summary summary;
};

class MemorySink final : public SegmentSink {
 public:
  // Reserves what the server announces, but touches only what comes.
  absl::Status Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                     std::span<const uint64_t> sizes) override {
    scheme_ = resolved;
    segments_.clear();
    for (size_t i = 0; i < segments.size(); ++i) {
      Segment& segment = segments_.emplace_back(Segment{segments[i].name, segments[i].dtype, segments[i].shape, {}});
      try {
        segment.bytes.reserve(sizes[i]);
      } catch (const std::exception&) {
        return absl::ResourceExhaustedError(absl::StrCat("No memory for the ", sizes[i], " bytes of ", segment.name,
                                                         ". Use a SegmentSink that writes them elsewhere."));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Write(const std::string& name, uint64_t, std::span<const std::byte> bytes) override {
    const auto segment =
        std::find_if(segments_.begin(), segments_.end(), [&](const Segment& one) { return one.name == name; });
    segment->bytes.insert(segment->bytes.end(), bytes.begin(), bytes.end());
    return absl::OkStatus();
  }

  SchemeRequest TakeScheme() { return std::move(scheme_); }
  std::vector<Segment> TakeSegments() { return std::move(segments_); }

 private:
  SchemeRequest scheme_;
  std::vector<Segment> segments_;
};

}  // namespace quantd
