// What the client says and hears of calibration sessions. proto/quantd/v1/calibration.proto explains every field.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "kernels/base/data_type.h"

namespace quantd {

// Where a tensor of Calibrate counts.
struct CalibrationContribution {
  std::string session_id;
  std::map<std::string, std::string> configuration;  // empty: grouping=tensor, collect=distribution
  std::string contribution_id;                       // a tensor counts once for each
  uint32_t expected_contributions = 0;               // 0: results come after a seal
};

struct CalibrationState {
  std::string session_id;
  std::map<std::string, std::string> configuration;  // fully resolved
  uint32_t expected_contributions = 0;
  bool sealed = false;
  bool readable = false;
  uint64_t tensor_count = 0;
  uint64_t contribution_count = 0;
  uint64_t memory_bytes = 0;
  absl::Duration expires_in;
  std::string server_instance;
  uint64_t epoch = 0;
};

// Of the `.qcal` bytes that an export would give.
struct CalibrationDigest {
  uint64_t size_bytes = 0;
  uint32_t crc32c = 0;
};

struct CalibratedRange {
  float lowest = 0;
  float highest = 0;
};

// Which results are wanted: empty strings and absent values mean the server's defaults.
struct CalibrationQuery {
  std::vector<std::string> tensors;  // empty: all, once the whole session is readable
  bool ranges = false;               // by the next four
  std::string method, target;
  std::optional<double> percentile;
  std::optional<bool> symmetric;
  bool fused = false;  // one range for `tensors` together
  bool importance = false;
};

// Arrays have one entry for each bucket.
struct CalibratedTensor {
  std::string name;
  DataType dtype{};
  uint64_t contributions = 0;
  uint64_t count = 0;
  uint64_t nonfinite_count = 0;
  std::vector<float> min, max, absmax;
  std::vector<CalibratedRange> ranges;
  std::vector<double> importance;
};

struct CalibrationResults {
  CalibrationState state;
  std::optional<CalibrationDigest> digest;  // where the whole session is readable
  std::vector<CalibratedTensor> tensors;
  std::optional<CalibratedRange> fused_range;
};

struct ImportOutcome {
  CalibrationState state;
  uint64_t merged_tensors = 0;
  uint64_t repeated_tensors = 0;  // that had been counted under this id before
};

// SmoothQuant's factors for Quantize, which the server makes of a session with grouping=channel.
struct SmoothingReference {
  std::string session_id;
  std::string activations;           // the tensor that has them
  std::vector<std::string> weights;  // that have these activations as input; empty: the one with the tensor's own name
  std::optional<double> alpha;       // 0.5
};

// How much each channel's errors count for Quantize, from a session with grouping=channel and collect=importance.
struct ImportanceReference {
  std::string session_id;
  std::string activations;  // empty: the one with the tensor's own name
};

// A range of the whole tensor for Quantize, from a session of the server.
struct CalibrationReference {
  std::string session_id;
  std::vector<std::string> tensors;  // that share one range; empty: the one with the tensor's own name
  std::string method;                // empty: minmax
  std::optional<double> percentile;
};

}  // namespace quantd
