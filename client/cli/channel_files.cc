#include "client/cli/channel_files.h"

#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cli/qcal_file.h"
#include "kernels/base/error.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/plan.h"
#include "server/calibration/calibrated_channels.h"
#include "server/conversion/printable.h"
#include "server/conversion/safetensors_reader.h"

namespace quantd::cli {

using server::Quoted;

absl::StatusOr<ChannelFile> ChannelFile::ReadSafetensors(const std::string& path) {
  const auto input = server::SafetensorsReader::Open(path);
  if (!input.ok()) return WithExitCode(input.status(), ExitCode::kFile);
  ChannelFile file(path);
  for (const server::SafetensorsEntry& entry : (*input)->tensors()) {
    const bool usable = entry.dtype.name == "F32" && entry.shape.size() == 1 && entry.shape[0] <= kChannelsMax;
    if (!usable) {
      return WithExitCode(
          absl::InvalidArgumentError(absl::StrCat(Quoted(path), ": tensor ", Quoted(entry.name),
                                                  " is not F32 with one extent of at most ", kChannelsMax)),
          ExitCode::kFile);
    }
    const auto bytes = (*input)->BytesOf(entry);
    std::vector<float> channels(entry.shape[0]);
    if (!bytes.empty()) std::memcpy(channels.data(), bytes.data(), bytes.size());
    file.arrays_.emplace(entry.name, std::move(channels));
  }
  return file;
}

absl::StatusOr<ChannelFile> ChannelFile::ReadImportance(const std::string& path) {
  if (!absl::EndsWith(path, ".qcal")) return ReadSafetensors(path);
  ChannelFile file(path);
  QUANTD_ASSIGN_OR_RETURN(file.calibration_, ReadQcalFile(path));
  return file;
}

absl::StatusOr<std::vector<float>> ChannelFile::ChannelsOf(const std::string& tensor, uint64_t channels) const {
  if (calibration_.has_value()) return Calibrated(tensor, channels);
  auto found = arrays_.find(tensor);
  if (found == arrays_.end()) found = arrays_.find(kAnyTensor);
  if (found == arrays_.end()) {
    return UsageError(absl::StrCat(Quoted(path_), " has neither tensor ", Quoted(tensor), " nor \"",
                                   std::string(kAnyTensor), "\"; choose with --include which tensors are converted"));
  }
  if (found->second.size() == channels) return found->second;
  return UsageError(absl::StrCat(Quoted(path_), ": ", Quoted(found->first), " has ", found->second.size(),
                                 " channels, and the last extent of ", Quoted(tensor), " is ", channels));
}

absl::StatusOr<std::vector<float>> ChannelFile::Calibrated(const std::string& tensor, uint64_t channels) const {
  const auto found = calibration_->tensors.find(tensor);
  if (found == calibration_->tensors.end()) {
    return UsageError(absl::StrCat(Quoted(path_), " has no tensor ", Quoted(tensor),
                                   "; calibrate a weight's activations under the weight's name, or choose with "
                                   "--include which tensors are converted"));
  }
  const absl::Status fits = server::CheckChannelStatistics(found->second, channels, true);
  if (fits.ok()) return server::ImportanceFrom(found->second);
  return UsageError(absl::StrCat(Quoted(path_), ": tensor ", Quoted(tensor), ": ", std::string(fits.message())));
}

}  // namespace quantd::cli
