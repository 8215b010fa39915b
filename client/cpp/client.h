// quantd's C++ client: tensors in, codes and scales out, and back. Streams, credit, chunks, checksums, retries and
// back-off are inside.
//
//   QUANTD_ASSIGN_OR_RETURN(auto client, quantd::Client::Create({.address = "localhost:7070"}));
//   quantd::TensorView weight{"w", quantd::DataType::kFloat32, {4096, 4096}, std::as_bytes(std::span(values))};
//   QUANTD_ASSIGN_OR_RETURN(quantd::QuantizedTensor codes, client->Quantize(weight, {.preset = "bnb-nf4"}));
//   QUANTD_ASSIGN_OR_RETURN(quantd::Tensor back, client->Dequantize(codes.View(), quantd::DataType::kBFloat16));
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/calibration.h"
#include "kernels/base/data_type.h"
#include "kernels/scheme/plan.h"
#include "kernels/scheme/scheme.h"

namespace grpc {
class Channel;
}

namespace quantd {

// A tensor that the caller owns: row-major, little-endian, and unchanged until the call returns.
struct TensorView {
  std::string name;
  DataType dtype{};             // float32, float16 or bfloat16
  std::vector<uint64_t> shape;  // outermost first; empty: a scalar
  std::span<const std::byte> values;
};

// A tensor that the result owns.
struct Tensor {
  std::string name;
  DataType dtype{};
  std::vector<uint64_t> shape;
  std::vector<std::byte> values;
};

// One array of a quantized tensor.
struct SegmentView {
  std::string name;  // "codes", "scales", ...
  DataType dtype{};
  std::vector<uint64_t> shape;
  std::span<const std::byte> bytes;
};
struct Segment {
  std::string name;
  DataType dtype{};
  std::vector<uint64_t> shape;
  std::vector<std::byte> bytes;
};

// How far decoded values are from the values, over the finite ones: quantd.v1.ErrorMetrics.
struct ErrorMetrics {
  uint64_t count = 0;
  double mean_squared_error = 0;
  double max_error = 0;
  double snr_db = 0;  // +infinity without an error
};

// What the server says of a finished tensor.
struct Summary {
  float amax = 0;                        // of the finite values, as the next two; Quantize only
  std::optional<float> lowest, highest;  // of schemes with zero points
  uint64_t nonfinite_count = 0;
  std::optional<ErrorMetrics> errors;                                 // Quantize, if asked for
  std::optional<bool> counted;                                        // Calibrate; false: it had been counted before
  uint64_t contributions = 0;                                         // Calibrate: of this tensor, which count
  absl::Duration receive_time, queue_time, compute_time, total_time;  // on the server; of the last connection
  std::string device;
  std::string server_instance;  // the process that computed the last of it
};

// A quantized tensor that the caller owns: all that dequantizing it takes.
struct QuantizedTensorView {
  std::string name;
  std::vector<uint64_t> shape;  // of the values
  SchemeRequest scheme;         // as QuantizedTensor::scheme has it
  std::vector<SegmentView> segments;
};
struct QuantizedTensor {
  std::string name;
  DataType source_dtype{};
  std::vector<uint64_t> shape;
  SchemeRequest scheme;  // fully resolved
  std::vector<Segment> segments;
  Summary summary;

  QuantizedTensorView View() const;  // valid as long as this object and its segments stay
};

// Takes the results of one call as they come, on the calling thread.
class SegmentSink {
 public:
  virtual ~SegmentSink() = default;
  // Once, before any bytes: the resolved scheme and the segments that will come, with empty `bytes`. `sizes` are
  // theirs, in bytes. A status that is not OK ends the call with it.
  virtual absl::Status Begin(const SchemeRequest& resolved, std::span<const SegmentView> segments,
                             std::span<const uint64_t> sizes) = 0;
  // Bytes [offset, offset + bytes.size()) of a segment; of each segment in order and without gaps. `bytes` is valid
  // during the call only.
  virtual absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) = 0;
};

// Ends calls from another thread. Must outlive the calls that it was given to.
class CancelToken {
 public:
  // Cancelled with `parent` too, if there is one, which must outlive this token.
  explicit CancelToken(const CancelToken* parent = nullptr) : parent_(parent) {}

  // Ends them with CANCELLED, now and for all later calls that get this token.
  void Cancel() { cancelled_.store(true, std::memory_order_release); }
  bool cancelled() const {
    return cancelled_.load(std::memory_order_acquire) || (parent_ != nullptr && parent_->cancelled());
  }

 private:
  const CancelToken* const parent_;
  std::atomic<bool> cancelled_{false};
};

enum class DevicePreference : uint8_t { kAuto, kCpu, kGpu };
enum class CallPriority : uint8_t { kLow, kNormal, kHigh };

struct CallOptions {
  absl::Duration timeout = absl::InfiniteDuration();  // for the whole call, retries included
  KnownStatistics statistics;                         // Quantize: of the whole tensor, what is known
  std::optional<CalibrationReference> calibration;    // Quantize: what of `statistics` a calibration gives
  // Quantize: one for each channel of the last axis, unchanged until the call returns; empty: none. Values are
  // multiplied by `smoothing_factors` first; `importance` weighs the errors of range=mse. Or made of a session by the
  // server.
  std::span<const float> smoothing_factors;
  std::span<const float> importance;
  std::optional<SmoothingReference> calibrated_smoothing;
  std::optional<ImportanceReference> calibrated_importance;
  // Keeps the memory of the tensor, or of all tensors, in place as long as anybody holds it. Then large parts are not
  // copied but sent from where they lie, and the client holds this as long as the transport needs them: after a call
  // that was cancelled or broke, until the server has read what was on its way or the connection is gone. What is done
  // when the last one lets go of it must not call the client; it can be on any thread.
  std::shared_ptr<const void> memory_owner;
  bool error_metrics = false;  // Quantize: Summary.errors
  DevicePreference device = DevicePreference::kAuto;
  CallPriority priority = CallPriority::kNormal;
  uint32_t frame_data_bytes = 1u << 20;  // 1 to 4 MiB − 64 KiB: data in one message
  bool checksums = true;                 // CRC32C on every piece, both ways, and on whole segments
  CancelToken* cancel = nullptr;
  // After every message: input bytes that the server has consumed, and all of them. On the calling thread.
  std::function<void(uint64_t consumed_bytes, uint64_t total_bytes)> progress;  // of a split tensor: of all parts
};

struct RetryPolicy {
  uint32_t attempts_max = 5;  // without a new result; 1: no retry
  absl::Duration first_backoff = absl::Milliseconds(100);
  absl::Duration backoff_max = absl::Seconds(10);
  double multiplier = 2;  // full jitter is applied to each delay; a server's pushback replaces it
};

struct ClientOptions {
  // "HOST:PORT", "unix:PATH", "dns:///NAME:PORT", "ipv4:IP:PORT,IP:PORT". Of several addresses one is used, by all
  // connections, until it cannot be reached or its server drains; then the next, by all.
  std::string address;
  RetryPolicy retry;
  // Connections that the client opens at most, 1 to 64. Calls at the same time are spread over them; a call into memory
  // takes several that are idle, one for each part of the tensor, of at least `part_bytes_min` of values. Not for
  // tensors with error_metrics or a statistic of the whole tensor that the server must find.
  uint32_t connections_max = 4;
  uint64_t part_bytes_min = 16u << 20;
  // Waits between retries; tests inject their own. Default: sleeps, and wakes early when the call is cancelled.
  std::function<void(absl::Duration)> sleeper;
};

// A GPU of the server: quantd.v1.Gpu.
struct GpuInfo {
  std::string name, target, state;
  uint64_t batches = 0, value_bytes = 0, losses = 0, replays = 0;
};

struct ServerInfo {
  std::string version, server_instance, cpu_target, principal;
  uint64_t epoch = 0;
  std::vector<std::string> devices;
  std::vector<GpuInfo> gpus;  // whatever their state
  uint64_t frame_data_bytes_max = 0, initial_window_bytes = 0, window_bytes = 0, tensor_bytes_max = 0,
           spool_bytes_per_stream_max = 0;
  uint64_t parked_bytes = 0, parked_bytes_max = 0;  // spools of broken streams that wait to be gone on with
  uint32_t streams_max = 0, streams_per_principal_max = 0;
  absl::Duration stall_max;
};

struct SchemeDescription {
  SchemeRequest scheme;
  std::string summary, byte_equal_to, error_bound;
  std::vector<std::string> constraints;  // on a tensor's shape, a sentence each
  std::vector<OverrideInfo> overrides;
  std::vector<std::string> segments;
  double bits_per_weight = 0;
};

// Safe from any number of threads; each call has its own stream. Calls block.
//
// Every call returns the server's status with its reason (quantd::DetailsOf in kernels/base/error.h). Refusals that
// came before any result (UNAVAILABLE) are retried as RetryPolicy says. A call whose connection breaks later goes on
// over a new one, on this server or another, with the first element whose results have not all come. A Quantize with a
// statistic that the server itself must find goes on where that server had come to, as long as it keeps that
// (quantd.v1.Upload); on another server, and with error_metrics or smoothing otherwise, it is sent again from the
// start. What has come already is never handed on twice. FAILED_PRECONDITION: the other server makes other bytes.
// DATA_LOSS: a checksum does not fit. INTERNAL: the server broke the protocol.
class Client {
 public:
  // Does not connect yet. INVALID_ARGUMENT for options out of range.
  static absl::StatusOr<std::unique_ptr<Client>> Create(const ClientOptions& options);
  // Over a channel that exists already, for example an in-process one. `options.address` and `connections_max` are not
  // used.
  static absl::StatusOr<std::unique_ptr<Client>> OverChannel(std::shared_ptr<grpc::Channel> channel,
                                                             ClientOptions options = {});
  virtual ~Client() = default;

  // Quantizes into memory.
  virtual absl::StatusOr<QuantizedTensor> Quantize(const TensorView& tensor, const SchemeRequest& scheme,
                                                   const CallOptions& options = {}) = 0;
  // Quantizes into `sink`, for results that should not stay in memory.
  virtual absl::StatusOr<Summary> Quantize(const TensorView& tensor, const SchemeRequest& scheme, SegmentSink& sink,
                                           const CallOptions& options = {}) = 0;

  // Dequantizes to `dtype` in memory.
  virtual absl::StatusOr<Tensor> Dequantize(const QuantizedTensorView& tensor, DataType dtype,
                                            const CallOptions& options = {}) = 0;
  // Dequantizes into `sink`: one segment, "values".
  virtual absl::StatusOr<Summary> Dequantize(const QuantizedTensorView& tensor, DataType dtype, SegmentSink& sink,
                                             const CallOptions& options = {}) = 0;

  // Many tensors, their results in the same order. Those below ClientOptions.part_bytes_min follow one another on a few
  // streams, each sent while the results of those before it are still coming. An error of one is its own result and
  // ends nothing else; what ends a stream for good is the result of all that are left. options.progress counts tensors
  // that are done, as their bytes of values, on any thread, one call at a time.
  virtual std::vector<absl::StatusOr<QuantizedTensor>> QuantizeAll(std::span<const TensorView> tensors,
                                                                   const SchemeRequest& scheme,
                                                                   const CallOptions& options = {}) = 0;
  virtual std::vector<absl::StatusOr<Tensor>> DequantizeAll(std::span<const QuantizedTensorView> tensors,
                                                            DataType dtype, const CallOptions& options = {}) = 0;

  // Adds the tensor's statistics to a session, which the first one creates. After a broken connection it is sent again
  // from the start: the contribution id makes sure that it counts once. FAILED_PRECONDITION: it would go to another
  // server process than the session's last one from this client, where it would be counted apart.
  virtual absl::StatusOr<Summary> Calibrate(const TensorView& tensor, const CalibrationContribution& contribution,
                                            const CallOptions& options = {}) = 0;
  // The session's statistics as a `.qcal` file, part by part, on the calling thread; `sink`'s error ends it. Begun anew
  // after a broken connection only if `sink` has got nothing. Of `options`: timeout, cancel.
  virtual absl::Status ExportCalibration(const std::string& session_id,
                                         const std::function<absl::Status(std::span<const std::byte>)>& sink,
                                         const CallOptions& options = {}) = 0;
  // Merges a `.qcal` file into the session, which is created if there is none. Sent again after a broken connection:
  // the import id makes sure that it counts once. Of `options`: timeout, cancel.
  virtual absl::StatusOr<ImportOutcome> ImportCalibration(const std::string& session_id, const std::string& import_id,
                                                          std::span<const std::byte> qcal,
                                                          uint32_t expected_contributions = 0,
                                                          const CallOptions& options = {}) = 0;

  // These and the next ones give up after 30 s for each request, retries included: DEADLINE_EXCEEDED.
  // The session as it is now, and no results.
  virtual absl::StatusOr<CalibrationState> DescribeCalibration(const std::string& session_id) = 0;
  // Results, in as many requests as they take.
  virtual absl::StatusOr<CalibrationResults> GetCalibration(const std::string& session_id,
                                                            const CalibrationQuery& query) = 0;
  virtual absl::StatusOr<CalibrationState> SealCalibration(const std::string& session_id) = 0;
  // All of the caller's sessions.
  virtual absl::StatusOr<std::vector<CalibrationState>> ListCalibrations() = 0;
  virtual absl::Status DeleteCalibration(const std::string& session_id) = 0;

  virtual absl::StatusOr<std::vector<SchemeDescription>> ListSchemes() = 0;
  virtual absl::StatusOr<ServerInfo> GetServerInfo() = 0;
};

}  // namespace quantd
