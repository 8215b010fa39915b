#include "client/cpp/client.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "client/cpp/grpc_status.h"
#include "client/cpp/memory_sink.h"
#include "client/cpp/retry.h"
#include "client/cpp/stream_transport.h"
#include "client/cpp/tensor_run.h"
#include "client/cpp/tensor_task.h"
#include "client/cpp/wire_convert.h"
#include "grpcpp/create_channel.h"
#include "kernels/base/status_macros.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd {
namespace {

constexpr absl::Duration kUnaryTimeout = absl::Seconds(30);
constexpr absl::Duration kSleepSlice = absl::Milliseconds(10);
// The largest frame, with its tags and lengths.
constexpr int kMessageBytesMax = (4 << 20) + (64 << 10);
// A connection whose other end is gone is found out within the sum of both.
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  // A connection of its own: gRPC would share one between all channels of the process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void SleepUnlessCancelled(absl::Duration duration, const CancelToken* cancel) {
  const absl::Time end = absl::Now() + duration;
  while (cancel == nullptr || !cancel->cancelled()) {
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) return;
    absl::SleepFor(cancel == nullptr ? left : std::min(left, kSleepSlice));
  }
}

class GrpcClient final : public Client {
 public:
  GrpcClient(std::shared_ptr<grpc::Channel> channel, ClientOptions options)
      : channel_(std::move(channel)), stub_(v1::QuantizationService::NewStub(channel_)), options_(std::move(options)) {}

  absl::StatusOr<QuantizedTensor> Quantize(const TensorView& tensor, const SchemeRequest& scheme,
                                           const CallOptions& options) override {
    MemorySink sink;
    QUANTD_ASSIGN_OR_RETURN(Summary summary, Quantize(tensor, scheme, sink, options));
    return QuantizedTensor{tensor.name,       tensor.dtype,        tensor.shape,
                           sink.TakeScheme(), sink.TakeSegments(), std::move(summary)};
  }

  absl::StatusOr<Summary> Quantize(const TensorView& tensor, const SchemeRequest& scheme, SegmentSink& sink,
                                   const CallOptions& options) override {
    QUANTD_ASSIGN_OR_RETURN(const TensorTask task, QuantizeTask(tensor, scheme, options));
    return Run(BulkMethod::kQuantize, task, sink, options);
  }

  absl::StatusOr<Tensor> Dequantize(const QuantizedTensorView& tensor, DataType dtype,
                                    const CallOptions& options) override {
    MemorySink sink;
    QUANTD_ASSIGN_OR_RETURN(Summary summary, Dequantize(tensor, dtype, sink, options));
    return Tensor{tensor.name, dtype, tensor.shape, std::move(sink.TakeSegments().front().bytes)};
  }

  absl::StatusOr<Summary> Dequantize(const QuantizedTensorView& tensor, DataType dtype, SegmentSink& sink,
                                     const CallOptions& options) override {
    QUANTD_ASSIGN_OR_RETURN(const TensorTask task, DequantizeTask(tensor, dtype, options));
    return Run(BulkMethod::kDequantize, task, sink, options);
  }

  absl::StatusOr<std::vector<SchemeDescription>> ListSchemes() override {
    v1::ListSchemesResponse response;
    QUANTD_RETURN_IF_ERROR(CallUnary([&](grpc::ClientContext& context) {
      return stub_->ListSchemes(&context, v1::ListSchemesRequest(), &response);
    }));
    std::vector<SchemeDescription> schemes;
    for (const v1::SchemeDescription& scheme : response.schemes()) schemes.push_back(FromWire(scheme));
    return schemes;
  }

  absl::StatusOr<ServerInfo> GetServerInfo() override {
    v1::GetServerInfoResponse response;
    QUANTD_RETURN_IF_ERROR(CallUnary([&](grpc::ClientContext& context) {
      return stub_->GetServerInfo(&context, v1::GetServerInfoRequest(), &response);
    }));
    return FromWire(response);
  }

 private:
  absl::StatusOr<Summary> Run(BulkMethod method, const TensorTask& task, SegmentSink& sink,
                              const CallOptions& options) {
    const absl::Time deadline = absl::Now() + options.timeout;
    return RunTensor(task, sink, options, options_.retry, RetryWorld(deadline, options.cancel),
                     [&] { return OpenStream(channel_, method, deadline); });
  }

  absl::Status CallUnary(const std::function<grpc::Status(grpc::ClientContext&)>& call) {
    const absl::Time deadline = absl::Now() + kUnaryTimeout;
    return RunWithRetries(options_.retry, RetryWorld(deadline, nullptr), [&]() -> AttemptResult {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(deadline));
      RemoteError error = FromGrpcStatus(call(context));
      return {std::move(error.status), true, error.retry_delay};
    });
  }

  RetryEnvironment RetryWorld(absl::Time deadline, const CancelToken* cancel) const {
    return {.uniform =
                [random = std::mt19937_64(std::random_device()())]() mutable {
                  return std::uniform_real_distribution<double>()(random);
                },
            .sleep =
                [this, cancel](absl::Duration duration) {
                  options_.sleeper ? options_.sleeper(duration) : SleepUnlessCancelled(duration, cancel);
                },
            .time_left = [deadline] { return deadline - absl::Now(); },
            .cancelled = [cancel] { return cancel != nullptr && cancel->cancelled(); }};
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::QuantizationService::Stub> stub_;
  const ClientOptions options_;
};

}  // namespace

QuantizedTensorView QuantizedTensor::View() const {
  QuantizedTensorView view{name, shape, scheme, {}};
  for (const Segment& segment : segments) {
    view.segments.push_back({segment.name, segment.dtype, segment.shape, segment.bytes});
  }
  return view;
}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(ClientOptions options) {
  if (options.address.empty()) {
    return absl::InvalidArgumentError("ClientOptions.address is empty. Give \"HOST:PORT\" or \"unix:PATH\".");
  }
  std::shared_ptr<grpc::Channel> channel = MakeChannel(options.address);
  return OverChannel(std::move(channel), std::move(options));
}

absl::StatusOr<std::unique_ptr<Client>> Client::OverChannel(std::shared_ptr<grpc::Channel> channel,
                                                            ClientOptions options) {
  QUANTD_RETURN_IF_ERROR(ValidateRetryPolicy(options.retry));
  return std::unique_ptr<Client>(std::make_unique<GrpcClient>(std::move(channel), std::move(options)));
}

}  // namespace quantd
