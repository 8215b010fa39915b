#include "server/calibration/calibration_export.h"

#include <algorithm>
#include <span>
#include <utility>

#include "kernels/base/crc32c.h"
#include "kernels/base/status_macros.h"

namespace quantd::server {

absl::StatusOr<std::unique_ptr<CalibrationExport>> CalibrationExport::Start(std::shared_ptr<CalibrationSession> session,
                                                                            absl::Time now) {
  QUANTD_ASSIGN_OR_RETURN(auto tensors, session->ReadAll(now));
  return std::unique_ptr<CalibrationExport>(new CalibrationExport(std::move(session), std::move(tensors)));
}

CalibrationExport::CalibrationExport(std::shared_ptr<CalibrationSession> session,
                                     std::map<std::string, ClosedTensor> tensors)
    : session_(std::move(session)),
      tensors_(std::move(tensors)),
      next_(tensors_.begin()),
      writer_(session_->config(), tensors_.size(), [this](std::span<const std::byte> bytes) {
        buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return absl::OkStatus();
      }) {}

absl::StatusOr<std::string> CalibrationExport::Next(size_t bytes_max) {
  while (buffer_.size() < bytes_max && next_ != tensors_.end()) {
    QUANTD_RETURN_IF_ERROR(writer_.Write(next_->first, *next_->second.statistics));
    ++next_;
  }
  if (next_ == tensors_.end() && !finished_) {
    QUANTD_RETURN_IF_ERROR(writer_.Finish());
    finished_ = true;
  }
  std::string part = buffer_.substr(0, bytes_max);
  buffer_.erase(0, part.size());
  return part;
}

absl::StatusOr<CalibrationDigest> DigestOf(const std::shared_ptr<CalibrationSession>& session, absl::Time now) {
  constexpr size_t kPartBytes = 1 << 20;
  QUANTD_ASSIGN_OR_RETURN(const auto source, CalibrationExport::Start(session, now));
  CalibrationDigest digest;
  while (true) {
    QUANTD_ASSIGN_OR_RETURN(const std::string part, source->Next(kPartBytes));
    if (part.empty()) return digest;
    digest.size_bytes += part.size();
    digest.crc32c = ExtendCrc32c(digest.crc32c, std::as_bytes(std::span(part)));
  }
}

}  // namespace quantd::server
