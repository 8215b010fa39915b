// `.qcal`: statistics as canonical bytes. Equal statistics are equal bytes, however they were gathered; docs/formats.md
// has the diagram.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/calibrate/tensor_statistics.h"

namespace quantd {

inline constexpr uint32_t kQcalVersion = 1;
inline constexpr uint32_t kQcalNameBytesMax = 4096;

struct Calibration {
  StatisticsConfig config;
  std::map<std::string, TensorStatistics> tensors;  // all of that configuration
};

// All of `from` counted in `into` too, tensor by tensor. INCOMPATIBLE_STATISTICS or STATISTICS_LIMIT as
// TensorStatistics::Merge, with metadata `tensor`; `into` is unchanged then.
absl::Status Merge(Calibration& into, const Calibration& from);

// Writes a file piece by piece, so that no more than one tensor is in memory twice.
class CalibrationWriter {
 public:
  // Receives the file's next bytes, valid during the call; an error ends the writing.
  using Sink = std::function<absl::Status(std::span<const std::byte> bytes)>;

  CalibrationWriter(const StatisticsConfig& config, uint64_t tensor_count, Sink sink);

  // In ascending order of names (bytes compared), each at most kQcalNameBytesMax and not empty, `tensor_count` in all,
  // of that configuration: else INTERNAL, as for any misuse. The sink's errors.
  absl::Status Write(std::string_view name, const TensorStatistics& statistics);
  // After the last tensor: the checksum.
  absl::Status Finish();

 private:
  absl::Status Begin();
  absl::Status Emit(std::span<const std::byte> bytes);

  const StatisticsConfig config_;
  const uint64_t tensor_count_;
  const Sink sink_;
  std::string last_name_;
  uint64_t written_ = 0;
  bool begun_ = false;
  uint32_t crc_ = 0;
};

struct CalibrationReadLimits {
  uint64_t tensors_max = 1u << 20;
  uint64_t record_bytes_max = 256u << 20;  // of one tensor in the file; also about what the reader buffers
  uint64_t memory_bytes_max = 1u << 30;    // of all tensors' statistics, as MemoryBytes()
};

// Reads a file that comes in any cut, from anyone: every length is checked before anything is allocated for it, and
// only canonical bytes are taken. Errors: INVALID_ARGUMENT with reason MALFORMED_QCAL; DATA_LOSS with
// CHECKSUM_MISMATCH; RESOURCE_EXHAUSTED with reason STATISTICS_LIMIT. After an error the reader is of no more use, and
// what it gave is provisional until Finish.
class CalibrationReader {
 public:
  // Called once, before the first tensor.
  using OnConfig = std::function<absl::Status(const StatisticsConfig& config)>;
  // Takes a tensor over; an error ends the reading.
  using OnTensor = std::function<absl::Status(std::string name, TensorStatistics statistics)>;

  CalibrationReader(const CalibrationReadLimits& limits, OnConfig on_config, OnTensor on_tensor);

  absl::Status Feed(std::span<const std::byte> bytes);
  // INVALID_ARGUMENT with reason MALFORMED_QCAL if the file is not complete.
  absl::Status Finish();

 private:
  enum class State : uint8_t { kHeader, kRecordLength, kRecord, kChecksum, kDone };

  absl::Status Take(std::span<const std::byte> part);
  absl::Status TakeHeader(std::span<const std::byte> part);
  absl::Status TakeRecord(std::span<const std::byte> part);
  void AwaitRecordOrEnd();

  const CalibrationReadLimits limits_;
  const OnConfig on_config_;
  const OnTensor on_tensor_;
  State state_ = State::kHeader;
  uint64_t part_bytes_;  // that `state_` waits for
  std::vector<std::byte> part_;
  uint32_t crc_ = 0;
  std::optional<StatisticsConfig> config_;
  uint64_t tensors_left_ = 0;
  uint64_t memory_bytes_ = 0;
  std::string last_name_;
};

// The whole file at once.
// Empty for names that are empty or too long, or statistics of another configuration.
std::vector<std::byte> ToQcal(const Calibration& calibration);
absl::StatusOr<Calibration> FromQcal(std::span<const std::byte> bytes, const CalibrationReadLimits& limits = {});

}  // namespace quantd
