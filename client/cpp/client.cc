#include "client/cpp/client.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/accept_cache.h"
#include "client/cpp/calibration_calls.h"
#include "client/cpp/channel_pool.h"
#include "client/cpp/grpc_status.h"
#include "client/cpp/joined_segments.h"
#include "client/cpp/many_tensors.h"
#include "client/cpp/memory_sink.h"
#include "client/cpp/null_sink.h"
#include "client/cpp/pipeline.h"
#include "client/cpp/retry.h"
#include "client/cpp/server_addresses.h"
#include "client/cpp/split_run.h"
#include "client/cpp/stream_transport.h"
#include "client/cpp/tensor_run.h"
#include "client/cpp/tensor_task.h"
#include "client/cpp/wire_convert.h"
#include "grpcpp/create_channel.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/status_macros.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd {
namespace {

constexpr absl::Duration kUnaryTimeout = absl::Seconds(30);
constexpr uint32_t kConnectionsMax = 64;
// A connection more has to be worth its handshake.
constexpr uint64_t kTensorsPerPipelineMin = 256;
// What fits into half a window is as well sent again.
constexpr uint64_t kUploadBytesMin = 4u << 20;
constexpr size_t kUploadIdBytes = 32;
constexpr size_t kRememberedSessionsMax = 4096;
constexpr absl::Duration kSleepSlice = absl::Milliseconds(10);
// The largest frame, with its tags and lengths.
constexpr int kMessageBytesMax = (4 << 20) + (64 << 10);
// A connection whose other end is gone is found out within the sum of both.
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, const std::string& authority) {
  grpc::ChannelArguments arguments;
  if (!authority.empty()) arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, authority);
  // A connection of its own: gRPC would share one between all channels of the process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

uint64_t ValueBytes(const std::vector<uint64_t>& shape, DataType dtype) {
  uint64_t bytes = SizeBytes(dtype);
  for (const uint64_t extent : shape) bytes = CheckedMul(bytes, extent).value_or(UINT64_MAX);
  return bytes;
}

void SleepUnlessCancelled(absl::Duration duration, const CancelToken* cancel) {
  const absl::Time end = absl::Now() + duration;
  while (cancel == nullptr || !cancel->cancelled()) {
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) return;
    absl::SleepFor(cancel == nullptr ? left : std::min(left, kSleepSlice));
  }
}

// Which server process has a calibration session: one that another server is asked to add to would be counted in two
// halves. Safe from any thread.
class ServersOfSessions {
 public:
  // Empty: not known.
  std::string Of(const std::string& session_id) const {
    const std::lock_guard lock(mutex_);
    const auto found = instances_.find(session_id);
    return found == instances_.end() ? "" : found->second;
  }
  void Set(const std::string& session_id, const std::string& server_instance) {
    const std::lock_guard lock(mutex_);
    if (instances_.size() < kRememberedSessionsMax) instances_.emplace(session_id, server_instance);
  }
  void Forget(const std::string& session_id) {
    const std::lock_guard lock(mutex_);
    instances_.erase(session_id);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> instances_;  // guarded by mutex_
};

class GrpcClient final : public Client {
 public:
  GrpcClient(ChannelPool::Factory factory, ServerAddresses addresses, ClientOptions options)
      : options_(std::move(options)), channels_(std::move(factory), std::move(addresses), options_.connections_max) {}

  absl::StatusOr<QuantizedTensor> Quantize(const TensorView& tensor, const SchemeRequest& scheme,
                                           const CallOptions& options) override {
    QUANTD_ASSIGN_OR_RETURN(TensorTask task, QuantizeTask(tensor, scheme, options));
    std::optional<Plan> plan;
    if (tensor.values.size() >= PlannedBytesMin()) {
      plan = LocalPlan(scheme, Direction::kQuantize, tensor.dtype, tensor.shape, options.statistics);
      AddUpload(plan, task);
    }
    QUANTD_ASSIGN_OR_RETURN(MemoryResult result, RunIntoMemory(BulkMethod::kQuantize, task, plan, options));
    return ToQuantized(tensor, std::move(result));
  }

  absl::StatusOr<Summary> Quantize(const TensorView& tensor, const SchemeRequest& scheme, SegmentSink& sink,
                                   const CallOptions& options) override {
    QUANTD_ASSIGN_OR_RETURN(TensorTask task, QuantizeTask(tensor, scheme, options));
    if (tensor.values.size() >= PlannedBytesMin()) {
      AddUpload(LocalPlan(scheme, Direction::kQuantize, tensor.dtype, tensor.shape, options.statistics), task);
    }
    return RunOnOne(BulkMethod::kQuantize, task, sink, options);
  }

  absl::StatusOr<Tensor> Dequantize(const QuantizedTensorView& tensor, DataType dtype,
                                    const CallOptions& options) override {
    QUANTD_ASSIGN_OR_RETURN(const TensorTask task, DequantizeTask(tensor, dtype, options));
    std::optional<Plan> plan;
    if (*task.values_bytes >= PlannedBytesMin()) {
      plan = LocalPlan(tensor.scheme, Direction::kDequantize, dtype, tensor.shape, {});
    }
    QUANTD_ASSIGN_OR_RETURN(MemoryResult result, RunIntoMemory(BulkMethod::kDequantize, task, plan, options));
    return ToTensor(tensor, dtype, std::move(result));
  }

  absl::StatusOr<Summary> Dequantize(const QuantizedTensorView& tensor, DataType dtype, SegmentSink& sink,
                                     const CallOptions& options) override {
    QUANTD_ASSIGN_OR_RETURN(const TensorTask task, DequantizeTask(tensor, dtype, options));
    return RunOnOne(BulkMethod::kDequantize, task, sink, options);
  }

  std::vector<absl::StatusOr<QuantizedTensor>> QuantizeAll(std::span<const TensorView> tensors,
                                                           const SchemeRequest& scheme,
                                                           const CallOptions& options) override {
    return RunAll<QuantizedTensor>(
        BulkMethod::kQuantize, tensors.size(),
        {.value_bytes = [&](size_t i) { return tensors[i].values.size(); },
         .task = [&](size_t i) { return QuantizeTask(tensors[i], scheme, options); },
         .result = [&](size_t i, MemoryResult result) { return ToQuantized(tensors[i], std::move(result)); }},
        options, [&](size_t i, const CallOptions& own) { return Quantize(tensors[i], scheme, own); });
  }

  std::vector<absl::StatusOr<Tensor>> DequantizeAll(std::span<const QuantizedTensorView> tensors, DataType dtype,
                                                    const CallOptions& options) override {
    return RunAll<Tensor>(
        BulkMethod::kDequantize, tensors.size(),
        {.value_bytes = [&](size_t i) { return ValueBytes(tensors[i].shape, dtype); },
         .task = [&](size_t i) { return DequantizeTask(tensors[i], dtype, options); },
         .result = [&](size_t i, MemoryResult result) { return ToTensor(tensors[i], dtype, std::move(result)); }},
        options, [&](size_t i, const CallOptions& own) { return Dequantize(tensors[i], dtype, own); });
  }

  absl::StatusOr<Summary> Calibrate(const TensorView& tensor, const CalibrationContribution& contribution,
                                    const CallOptions& options) override {
    QUANTD_ASSIGN_OR_RETURN(TensorTask task, CalibrateTask(tensor, contribution, options));
    task.server_instance = servers_of_sessions_.Of(contribution.session_id);
    NullSink nothing;
    QUANTD_ASSIGN_OR_RETURN(Summary summary, RunOnOne(BulkMethod::kCalibrate, task, nothing, options));
    servers_of_sessions_.Set(contribution.session_id, summary.server_instance);
    return summary;
  }

  absl::Status ExportCalibration(const std::string& session_id,
                                 const std::function<absl::Status(std::span<const std::byte>)>& sink,
                                 const CallOptions& options) override {
    return CallStream(options, [&](Stub& stub, grpc::ClientContext& context) {
      return ExportOnce(stub, context, session_id, sink, options.cancel);
    });
  }

  absl::StatusOr<ImportOutcome> ImportCalibration(const std::string& session_id, const std::string& import_id,
                                                  std::span<const std::byte> qcal, uint32_t expected_contributions,
                                                  const CallOptions& options) override {
    v1::ImportTarget target;
    target.set_session_id(session_id);
    target.set_import_id(import_id);
    target.set_expected_contributions(expected_contributions);
    ImportOutcome outcome;
    QUANTD_RETURN_IF_ERROR(CallStream(options, [&](Stub& stub, grpc::ClientContext& context) {
      return ImportOnce(stub, context, target, qcal, options.cancel, outcome);
    }));
    return outcome;
  }

  absl::StatusOr<CalibrationState> DescribeCalibration(const std::string& session_id) override {
    return Calibrations().Describe(session_id);
  }
  absl::StatusOr<CalibrationResults> GetCalibration(const std::string& session_id,
                                                    const CalibrationQuery& query) override {
    return Calibrations().Get(session_id, query);
  }
  absl::StatusOr<CalibrationState> SealCalibration(const std::string& session_id) override {
    return Calibrations().Seal(session_id);
  }
  absl::StatusOr<std::vector<CalibrationState>> ListCalibrations() override { return Calibrations().List(); }
  absl::Status DeleteCalibration(const std::string& session_id) override {
    servers_of_sessions_.Forget(session_id);
    return Calibrations().Delete(session_id);
  }

  absl::StatusOr<std::vector<SchemeDescription>> ListSchemes() override {
    v1::ListSchemesResponse response;
    QUANTD_RETURN_IF_ERROR(CallUnary([&](Stub& stub, grpc::ClientContext& context) {
      return stub.ListSchemes(&context, v1::ListSchemesRequest(), &response);
    }));
    std::vector<SchemeDescription> schemes;
    for (const v1::SchemeDescription& scheme : response.schemes()) schemes.push_back(FromWire(scheme));
    return schemes;
  }

  absl::StatusOr<ServerInfo> GetServerInfo() override {
    v1::GetServerInfoResponse response;
    QUANTD_RETURN_IF_ERROR(CallUnary([&](Stub& stub, grpc::ClientContext& context) {
      return stub.GetServerInfo(&context, v1::GetServerInfoRequest(), &response);
    }));
    return FromWire(response);
  }

 private:
  using Stub = v1::QuantizationService::Stub;

  CalibrationCalls Calibrations() {
    return {[this](const std::function<grpc::Status(Stub&, grpc::ClientContext&)>& call) { return CallUnary(call); }};
  }

  absl::Status CallStream(const CallOptions& options,
                          const std::function<AttemptResult(Stub&, grpc::ClientContext&)>& attempt) {
    const absl::Time deadline = absl::Now() + options.timeout;
    const std::vector<ChannelPool::Lease> leases = channels_.Take(1);
    return RunWithRetries(options_.retry, RetryWorld(leases.front(), deadline, options.cancel), [&] {
      grpc::ClientContext context;
      if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
      return attempt(*v1::QuantizationService::NewStub(leases.front().channel()), context);
    });
  }

  // What this client expects of the server; nothing if it does not know the scheme, which the server may.
  static std::optional<Plan> LocalPlan(const SchemeRequest& request, Direction direction, DataType dtype,
                                       const std::vector<uint64_t>& shape, const KnownStatistics& known) {
    const auto scheme = ResolveScheme(request);
    if (!scheme.ok()) return std::nullopt;
    auto plan = MakePlan(*scheme, direction, dtype, shape, known);
    return plan.ok() ? std::optional(*std::move(plan)) : std::nullopt;
  }

  // Smaller tensors are neither split nor kept: what the scheme makes of them need not be known here.
  uint64_t PlannedBytesMin() const { return std::min(kUploadBytesMin, options_.part_bytes_min); }

  // Lets a tensor survive its connection where the server may have to keep something of it.
  static void AddUpload(const std::optional<Plan>& plan, TensorTask& task) {
    const bool nothing_to_keep = plan.has_value() && !plan->NeedsSpool();
    if (nothing_to_keep || task.inputs.front().bytes.size() < kUploadBytesMin) return;
    std::random_device random;
    std::string id;
    while (id.size() < kUploadIdBytes) absl::StrAppend(&id, absl::Hex(random(), absl::kZeroPad8));
    task.header.mutable_upload()->set_id(id);
  }

  static QuantizedTensor ToQuantized(const TensorView& tensor, MemoryResult result) {
    return {tensor.name,
            tensor.dtype,
            tensor.shape,
            std::move(result.scheme),
            std::move(result.segments),
            std::move(result.summary)};
  }
  static Tensor ToTensor(const QuantizedTensorView& tensor, DataType dtype, MemoryResult result) {
    return {tensor.name, dtype, tensor.shape, std::move(result.segments.front().bytes)};
  }

  // Tensors that may be split run alone, one after another; the others on pipelines.
  template <typename Result, typename RunAlone>
  std::vector<absl::StatusOr<Result>> RunAll(BulkMethod method, size_t count, typename ManyTensors<Result>::Rules rules,
                                             const CallOptions& options, const RunAlone& run_alone) {
    const absl::Time deadline = absl::Now() + options.timeout;
    std::vector<size_t> large, small;
    for (size_t i = 0; i < count; ++i) {
      (rules.value_bytes(i) >= options_.part_bytes_min ? large : small).push_back(i);
    }
    ManyTensors<Result> work(count, std::move(rules), options);
    const size_t pipelines = CeilDiv(small.size(), kTensorsPerPipelineMin);
    work.SetQueue(std::move(small));
    for (const size_t index : large) {
      CallOptions own = options;
      own.timeout = deadline - absl::Now();
      own.progress = nullptr;
      work.Put(index, run_alone(index, own));
    }
    if (pipelines > 0) RunPipelines(method, work, pipelines, options, deadline);
    return work.TakeResults();
  }

  void RunPipelines(BulkMethod method, PipelineWork& work, size_t wanted, const CallOptions& options,
                    absl::Time deadline) {
    const std::vector<ChannelPool::Lease> leases =
        channels_.Take(static_cast<uint32_t>(std::min<size_t>(wanted, options_.connections_max)));
    const auto run = [&](size_t pipeline) {
      RunPipeline(
          work, options, options_.retry, RetryWorld(leases[pipeline], deadline, options.cancel),
          [&] { return OpenStream(leases[pipeline].channel(), method, deadline); }, accepts_);
    };
    std::vector<std::thread> threads;
    for (size_t i = 1; i < leases.size(); ++i) threads.emplace_back(run, i);
    run(0);
    for (std::thread& thread : threads) thread.join();
  }

  // On as many connections as the tensor is worth and are idle.
  absl::StatusOr<MemoryResult> RunIntoMemory(BulkMethod method, const TensorTask& task, const std::optional<Plan>& plan,
                                             const CallOptions& options) {
    const bool may_split = plan.has_value() && !options.error_metrics;
    const size_t wanted =
        may_split ? PartsOf(*plan, options_.part_bytes_min, options_.connections_max).size() : size_t{1};
    const std::vector<ChannelPool::Lease> leases = channels_.Take(static_cast<uint32_t>(wanted));
    const absl::Time deadline = absl::Now() + options.timeout;
    if (leases.size() == 1) {
      MemorySink sink;
      QUANTD_ASSIGN_OR_RETURN(Summary summary, Run(method, leases.front(), task, sink, options, deadline));
      return MemoryResult{sink.TakeScheme(), sink.TakeSegments(), std::move(summary)};
    }
    const std::vector<SegmentLayout> layout = plan->WireOutputs();
    JoinedSegments joined(layout);
    const auto run = [&](size_t part, const TensorTask& own, SegmentSink& sink, const CallOptions& own_options) {
      return Run(method, leases[part], own, sink, own_options, deadline);
    };
    const auto parts = PartsOf(*plan, options_.part_bytes_min, static_cast<uint32_t>(leases.size()));
    QUANTD_ASSIGN_OR_RETURN(Summary summary, RunParts(task, parts, joined, options, run));
    return MemoryResult{joined.TakeScheme(), joined.TakeSegments(), std::move(summary)};
  }

  absl::StatusOr<Summary> RunOnOne(BulkMethod method, const TensorTask& task, SegmentSink& sink,
                                   const CallOptions& options) {
    const std::vector<ChannelPool::Lease> leases = channels_.Take(1);
    return Run(method, leases.front(), task, sink, options, absl::Now() + options.timeout);
  }

  absl::StatusOr<Summary> Run(BulkMethod method, const ChannelPool::Lease& lease, const TensorTask& task,
                              SegmentSink& sink, const CallOptions& options, absl::Time deadline) {
    return RunTensor(
        task, sink, options, options_.retry, RetryWorld(lease, deadline, options.cancel),
        [&] { return OpenStream(lease.channel(), method, deadline); }, accepts_);
  }

  absl::Status CallUnary(const std::function<grpc::Status(Stub&, grpc::ClientContext&)>& call) {
    const absl::Time deadline = absl::Now() + kUnaryTimeout;
    const std::vector<ChannelPool::Lease> leases = channels_.Take(1);
    return RunWithRetries(options_.retry, RetryWorld(leases.front(), deadline, nullptr), [&]() -> AttemptResult {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(deadline));
      RemoteError error = FromGrpcStatus(call(*v1::QuantizationService::NewStub(leases.front().channel()), context));
      return {.status = std::move(error.status), .may_repeat = true, .pushback = error.retry_delay};
    });
  }

  // `lease` must outlive it.
  RetryEnvironment RetryWorld(const ChannelPool::Lease& lease, absl::Time deadline, const CancelToken* cancel) const {
    return {.uniform =
                [random = std::optional<std::minstd_rand>()]() mutable {
                  if (!random.has_value()) random.emplace(std::random_device()());  // most calls need none
                  return std::uniform_real_distribution<double>()(*random);
                },
            .sleep =
                [this, cancel](absl::Duration duration) {
                  options_.sleeper ? options_.sleeper(duration) : SleepUnlessCancelled(duration, cancel);
                },
            .time_left = [deadline] { return deadline - absl::Now(); },
            .move_on = [&lease] { lease.MoveOn(); },
            .cancelled = [cancel] { return cancel != nullptr && cancel->cancelled(); }};
  }

  const ClientOptions options_;
  ChannelPool channels_;
  AcceptCache accepts_;
  ServersOfSessions servers_of_sessions_;
};

absl::StatusOr<std::unique_ptr<Client>> MakeClient(ChannelPool::Factory factory, ServerAddresses addresses,
                                                   const ClientOptions& options) {
  QUANTD_RETURN_IF_ERROR(ValidateRetryPolicy(options.retry));
  if (options.connections_max < 1 || options.connections_max > kConnectionsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("ClientOptions.connections_max must be 1 to ", kConnectionsMax, "."));
  }
  return std::unique_ptr<Client>(std::make_unique<GrpcClient>(std::move(factory), std::move(addresses), options));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Create(const ClientOptions& options) {
  if (options.address.empty()) {
    return absl::InvalidArgumentError("ClientOptions.address is empty. Give \"HOST:PORT\" or \"unix:PATH\".");
  }
  return MakeClient(
      [authority = AuthorityOf(options.address)](const std::string& target) { return MakeChannel(target, authority); },
      ServerAddresses(options.address), options);
}

absl::StatusOr<std::unique_ptr<Client>> Client::OverChannel(std::shared_ptr<grpc::Channel> channel,
                                                            ClientOptions options) {
  options.connections_max = 1;
  return MakeClient([channel = std::move(channel)](const std::string&) { return channel; }, ServerAddresses(""),
                    options);
}

}  // namespace quantd
