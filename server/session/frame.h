// The stream's frames as plain values: what server/rpc makes of the wire, and what it turns into the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/base/once.h"
#include "kernels/scheme/plan.h"
#include "server/session/turn.h"

namespace quantd::server {

enum class DevicePolicy : uint8_t { kAuto, kCpu, kGpu };
enum class ChecksumKind : uint8_t { kWherePresent, kCrc32c, kNone };

// quantd.v1.CalibrationReference.
struct CalibrationReference {
  std::string session_id;
  std::vector<std::string> tensors;  // empty: the one of the header's name
  std::string method;                // empty: "minmax"
  std::optional<double> percentile;

  bool operator==(const CalibrationReference&) const = default;
};

// quantd.v1.SmoothingSource; without a session the client sends the factors.
struct SmoothingSource {
  std::string session_id;
  std::string activations;
  std::vector<std::string> weights;  // empty: the one of the header's name
  std::optional<double> alpha;

  bool operator==(const SmoothingSource&) const = default;
};

// quantd.v1.ImportanceSource; without a session the client sends the array.
struct ImportanceSource {
  std::string session_id;
  std::string activations;  // empty: the one of the header's name

  bool operator==(const ImportanceSource&) const = default;
};

// quantd.v1.Contribution.
struct Contribution {
  std::string session_id;
  std::map<std::string, std::string> configuration;
  std::string contribution_id;
  uint32_t expected_contributions = 0;

  bool operator==(const Contribution&) const = default;
};

// quantd.v1.Upload.
struct UploadReference {
  std::string id;
  bool resume = false;
  // The rest only to resume.
  std::string server_instance;
  uint64_t epoch = 0;
  std::map<std::string, uint64_t> received_bytes;  // of each output segment, from its start

  bool operator==(const UploadReference&) const = default;
};

// quantd.v1.TensorHeader.
struct TensorRequest {
  std::string name;
  DataType dtype{};
  std::vector<uint64_t> shape;
  SchemeRequest scheme;
  KnownStatistics known;
  struct Range {
    uint64_t begin = 0;
    uint64_t end = 0;

    bool operator==(const Range&) const = default;
  };
  std::optional<Range> range;
  DevicePolicy device_policy{};
  Priority priority = Priority::kNormal;
  ChecksumKind checksum_kind{};
  bool error_metrics = false;                       // Quantize
  std::optional<CalibrationReference> calibration;  // Quantize
  std::optional<SmoothingSource> smoothing;         // Quantize
  std::optional<ImportanceSource> importance;       // Quantize
  std::optional<Contribution> contribution;         // Calibrate
  std::optional<UploadReference> upload;            // Quantize

  bool operator==(const TensorRequest&) const = default;
};

// quantd.v1.Piece of a request.
struct InputPiece {
  std::string segment;
  uint64_t offset = 0;
  uint32_t length = 0;
  std::optional<uint32_t> crc32c;
};

// A request frame whose data lies where the transport put it.
struct RequestFrame {
  uint64_t tensor_seq = 0;
  std::optional<absl::StatusOr<TensorRequest>> header;  // an error if it could not be converted
  std::vector<InputPiece> pieces;
  bool last = false;
  std::vector<std::span<const std::byte>> data;  // valid as long as `owner`
  uint64_t data_bytes = 0;
  std::shared_ptr<const void> owner;
};

// quantd.v1.Piece of a response, with its bytes.
struct OutputPiece {
  std::string segment;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;  // valid as long as `owner`
  std::shared_ptr<const void> owner;
  std::optional<uint32_t> crc32c;
};

// quantd.v1.Segment.
struct JobSegment {
  SegmentLayout layout;
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;
};

// quantd.v1.Accept, less what is the same for every tensor of a server, and the window.
struct AcceptInfo {
  SchemeRequest scheme;
  std::vector<JobSegment> inputs;
  std::vector<JobSegment> outputs;
  uint64_t unit_elements = 0;
  uint64_t batch_elements = 0;
  bool upload_kept = false;
};

// An accept that tensors share, with what the transport makes of it.
struct SharedAccept {
  explicit SharedAccept(AcceptInfo made) : info(std::move(made)) {}

  const AcceptInfo info;
  Once<std::string> wire;
};

// quantd.v1.ErrorMetrics.
struct ErrorMetrics {
  uint64_t count = 0;
  double mean_squared_error = 0;
  double max_error = 0;
  double snr_db = 0;
};

// quantd.v1.CalibrationSummary.
struct CalibrationSummary {
  bool counted = false;
  uint64_t contributions = 0;
};

// quantd.v1.Summary.
struct SummaryInfo {
  struct Digest {
    std::string segment;
    uint64_t bytes = 0;
    std::optional<uint32_t> crc32c;
  };
  std::vector<Digest> outputs;
  float amax = 0;
  std::optional<float> lowest, highest;
  uint64_t nonfinite_count = 0;
  std::optional<ErrorMetrics> errors;
  std::optional<CalibrationSummary> calibration;
  absl::Duration receive_time, queue_time, compute_time, total_time;
  std::string device;
};

// One response frame.
struct ResponseFrame {
  uint64_t tensor_seq = 0;
  std::shared_ptr<const SharedAccept> accept;  // null: none
  uint64_t window_bytes = 0;                   // with an accept
  std::vector<OutputPiece> pieces;
  uint64_t data_bytes = 0;  // of all pieces
  uint64_t consumed_bytes = 0;
  absl::Status error;  // OK: none
  std::optional<SummaryInfo> summary;
};

}  // namespace quantd::server
