// The measurements of `quantctl bench`: the server beside echoes of the same messages, in turn, medians of rounds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/bench_peers.h"
#include "kernels/base/clock.h"
#include "kernels/base/data_type.h"
#include "kernels/scheme/plan.h"
#include "kernels/scheme/scheme.h"

namespace quantd::cli {

// Who sends a large tensor from where it lies, and not a copy of it: see CallOptions.memory_owner.
enum class Lending : uint8_t { kNone, kQuantd, kBoth };

struct BenchSettings {
  SchemeRequest scheme;
  DataType dtype = DataType::kFloat32;
  std::vector<uint32_t> connections = {1, 2, 4};
  uint64_t tensor_bytes = 0;  // of values, for each connection; rows of kBenchColumns
  uint32_t message_bytes = 1u << 20;
  uint32_t rounds = 5;
  Lending lending = Lending::kNone;
  uint64_t small_bytes = 4096;      // of values, of a small tensor
  uint32_t small_calls = 2000;      // one at a time
  uint32_t small_tensors = 10'000;  // pipelined
};
inline constexpr uint64_t kBenchColumns = 1024;

// GB/s of values.
struct BulkRow {
  Direction direction{};
  uint32_t connections = 0;
  double server = 0;
  double raw_echo = 0;
  double checking_echo = 0;
};
// From the call to its result.
struct LatencyRow {
  std::string what;
  absl::Duration p50, p99;
};
// Small tensors, or messages, in a second.
struct RateRow {
  double server = 0;
  double raw_echo = 0;
};
struct BenchReport {
  std::vector<BulkRow> bulk;
  LatencyRow tensor_latency, echo_latency;
  RateRow pipelined;
};

// Errors: those of the calls; INVALID_ARGUMENT for settings that make no tensor; DATA_LOSS where results are not those
// of the reference, or differ between two calls; CANCELLED between two
// of them. `begin` is called before each measurement with its name.
absl::StatusOr<BenchReport> RunBench(const BenchSettings& settings, BenchPeers& peers, const Clock& clock,
                                     const CancelToken& cancel,
                                     const std::function<void(const std::string& name)>& begin);

}  // namespace quantd::cli
