// Arrays over the channels of weights, from files.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/calibrate/calibration_file.h"

namespace quantd::cli {

class ChannelFile {
 public:
  // What `quantctl smooth --factors` calls its tensor.
  static constexpr char kAnyTensor[] = "smoothing_factors";

  // A safetensors file with float32 tensors of one extent. Errors carry kFile and name the path.
  static absl::StatusOr<ChannelFile> ReadSafetensors(const std::string& path);
  // The same, or by its name ending `.qcal` a calibration with grouping=channel and collect=importance: its channels'
  // means of squares.
  static absl::StatusOr<ChannelFile> ReadImportance(const std::string& path);

  // The array of that name, or, where the file has no such one, kAnyTensor. A usage error if it has neither, or
  // another number of channels.
  absl::StatusOr<std::vector<float>> ChannelsOf(const std::string& tensor, uint64_t channels) const;

 private:
  explicit ChannelFile(std::string path) : path_(std::move(path)) {}

  absl::StatusOr<std::vector<float>> Calibrated(const std::string& tensor, uint64_t channels) const;

  std::string path_;
  std::map<std::string, std::vector<float>> arrays_;
  std::optional<Calibration> calibration_;
};

}  // namespace quantd::cli
