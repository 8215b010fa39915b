#include "client/cli/segment_writer.h"

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using server::Quoted;

absl::Status OtherBytes(const std::string& what) {
  return WithExitCode(
      absl::FailedPreconditionError(absl::StrCat("the server would make other bytes than this quantctl expects (", what,
                                                 "); use the same release on both sides, see `quantctl info`")),
      ExitCode::kServer);
}

bool SameScheme(const SchemeRequest& a, const SchemeRequest& b) {
  return a.preset == b.preset && a.overrides == b.overrides && a.format_revision == b.format_revision;
}

}  // namespace

absl::Status SegmentWriter::Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                                  std::span<const uint64_t> sizes) {
  tensor_of_.clear();
  if (!SameScheme(resolved, scheme_)) return OtherBytes("another scheme");
  if (segments.size() != expected_.size() || sizes.size() != segments.size()) return OtherBytes("other segments");
  for (size_t i = 0; i < segments.size(); ++i) {
    for (const ExpectedSegment& expected : expected_) {
      if (expected.segment != segments[i].name) continue;
      if (expected.dtype != segments[i].dtype || expected.shape != segments[i].shape || expected.bytes != sizes[i]) {
        return OtherBytes(absl::StrCat("another type or size of segment ", Quoted(expected.segment)));
      }
      tensor_of_.emplace(expected.segment, expected.tensor);
    }
  }
  if (tensor_of_.size() != expected_.size()) return OtherBytes("other segments");
  return absl::OkStatus();
}

absl::Status SegmentWriter::Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) {
  const auto tensor = tensor_of_.find(segment);
  if (tensor == tensor_of_.end()) return OtherBytes(absl::StrCat("the segment ", Quoted(segment)));
  QUANTD_RETURN_IF_ERROR(WithExitCode(writer_.Write(tensor->second, offset, bytes), ExitCode::kFile));
  written_bytes_ += bytes.size();
  return absl::OkStatus();
}

}  // namespace quantd::cli
