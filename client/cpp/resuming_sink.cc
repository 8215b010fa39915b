#include "client/cpp/resuming_sink.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"

namespace quantd {
namespace {

bool AreEqual(const SegmentView& a, const SegmentView& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape;
}

bool AreEqual(const SchemeRequest& a, const SchemeRequest& b) {
  return a.preset == b.preset && a.overrides == b.overrides && a.format_revision == b.format_revision;
}

}  // namespace

absl::Status ResumingSink::Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                                 std::span<const uint64_t> sizes) {
  if (begun()) {
    const bool same = AreEqual(scheme_, resolved) && std::ranges::equal(sizes_, sizes) &&
                      std::ranges::equal(segments_, segments,
                                         [](const SegmentView& a, const SegmentView& b) { return AreEqual(a, b); });
    if (same) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "The connection broke, and the server that answered then makes other bytes of this scheme: its release "
        "differs. "
        "Call again from the start.");
  }
  QUANTD_RETURN_IF_ERROR(target_.Begin(resolved, segments, sizes));
  scheme_ = resolved;
  segments_.assign(segments.begin(), segments.end());
  sizes_.assign(sizes.begin(), sizes.end());
  for (const SegmentView& segment : segments) next_.emplace(segment.name, std::nullopt);
  return absl::OkStatus();
}

std::vector<v1::ReceivedSegment> ResumingSink::received() const {
  std::vector<v1::ReceivedSegment> segments;
  for (const auto& [name, next] : next_) {
    if (!next.has_value()) continue;
    segments.emplace_back().set_name(name);
    segments.back().set_end_bytes(*next);
  }
  return segments;
}

absl::Status ResumingSink::Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) {
  std::optional<uint64_t>& known = next_.at(segment);
  if (!known.has_value()) known = offset;
  uint64_t& next = *known;
  if (offset > next) {
    return absl::InternalError(absl::StrCat("Bytes of ", segment, " at ", offset, " came where ", next, " were due."));
  }
  const uint64_t known_bytes = std::min<uint64_t>(next - offset, bytes.size());
  const std::span<const std::byte> fresh = bytes.subspan(known_bytes);
  if (fresh.empty()) return absl::OkStatus();
  QUANTD_RETURN_IF_ERROR(target_.Write(segment, next, fresh));
  next += fresh.size();
  delivered_bytes_ += fresh.size();
  return absl::OkStatus();
}

}  // namespace quantd
