// A sink that keeps what it gets, and can refuse.
#pragma once

#include <map>
#include <string>

#include "client/cpp/client.h"
#include "gtest/gtest.h"

namespace quantd {

class RecordingSink final : public SegmentSink {
 public:
  absl::Status Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                     std::span<const uint64_t> sizes) override {
    ++begins;
    scheme = resolved;
    EXPECT_EQ(segments.size(), sizes.size());
    for (size_t i = 0; i < segments.size(); ++i) announced[segments[i].name] = sizes[i];
    return absl::OkStatus();
  }

  absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override {
    if (!refusal.ok()) return refusal;
    EXPECT_EQ(offset, written[segment].size());
    written[segment].append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }

  absl::Status refusal;
  int begins = 0;
  SchemeRequest scheme;
  std::map<std::string, uint64_t> announced;
  std::map<std::string, std::string> written;
};

}  // namespace quantd
