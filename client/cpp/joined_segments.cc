#include "client/cpp/joined_segments.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

absl::Status OtherResults() {
  return absl::FailedPreconditionError(
      "The server makes other segments of this tensor than this client expects: their releases differ. Set "
      "ClientOptions.connections_max to 1, or use a client of the server's release.");
}

}  // namespace

absl::Status JoinedSegments::BeginPart(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                                       std::span<const uint64_t> sizes) {
  const auto is_expected = [&](const SegmentLayout& layout, const SegmentView& segment) {
    const uint64_t bytes = sizes[static_cast<size_t>(&segment - segments.data())];
    return layout.name == segment.name && layout.dtype == segment.dtype && layout.bytes == bytes;
  };
  if (!std::ranges::equal(layout_, segments, is_expected)) return OtherResults();
  const std::lock_guard lock(mutex_);
  if (!segments_.empty()) {
    const bool same = scheme_.preset == resolved.preset && scheme_.overrides == resolved.overrides &&
                      scheme_.format_revision == resolved.format_revision;
    return same ? absl::OkStatus() : OtherResults();
  }
  scheme_ = resolved;
  std::vector<Segment> made;
  for (size_t i = 0; i < segments.size(); ++i) {
    Segment& segment = made.emplace_back(Segment{segments[i].name, segments[i].dtype, segments[i].shape, {}});
    try {
      segment.bytes.resize(sizes[i]);
    } catch (const std::exception&) {
      return absl::ResourceExhaustedError(absl::StrCat("No memory for the ", sizes[i], " bytes of ", segment.name,
                                                       ". Use a SegmentSink that writes them elsewhere."));
    }
  }
  segments_ = std::move(made);
  return absl::OkStatus();
}

absl::Status JoinedSegments::PartSink::Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                                             std::span<const uint64_t> sizes) {
  return parent_.BeginPart(resolved, segments, sizes);
}

absl::Status JoinedSegments::PartSink::Write(const std::string& name, uint64_t offset,
                                             std::span<const std::byte> bytes) {
  const auto segment = std::ranges::find_if(parent_.segments_, [&](const Segment& one) { return one.name == name; });
  const auto& layout = parent_.layout_[static_cast<size_t>(segment - parent_.segments_.begin())];
  if (layout.whole_tensor() && !is_first_) return absl::OkStatus();
  std::memcpy(segment->bytes.data() + offset, bytes.data(), bytes.size());
  return absl::OkStatus();
}

}  // namespace quantd
