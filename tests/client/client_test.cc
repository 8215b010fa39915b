// The client over real gRPC, against a server made of generated code and the toy scheme.
#include "client/cpp/client.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "kernels/base/error.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "tests/client/recording_sink.h"
#include "tests/client/toy_peer.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using toy::ToyPeer;
using toy::ToyValues;

using QuantizeStream = grpc::ServerReaderWriter<v1::QuantizeResponse, v1::QuantizeRequest>;
using Behaviour = std::function<grpc::Status(grpc::ServerContext&, QuantizeStream&)>;

template <typename To, typename From>
To Recast(const From& message) {
  To other;
  EXPECT_TRUE(other.ParseFromString(message.SerializeAsString()));
  return other;
}

class ToyService final : public v1::QuantizationService::Service {
 public:
  ToyPeer::Settings settings{.response_data_bytes = 100'000};
  std::optional<size_t> dequantize_responses_before_break;
  Behaviour quantize = [this](grpc::ServerContext&, QuantizeStream& stream) { return Serve(stream); };
  std::atomic<int> calls = 0;

  grpc::Status Serve(QuantizeStream& stream) {
    ToyPeer peer(settings);
    v1::QuantizeRequest request;
    while (stream.Read(&request)) {
      for (const v1::QuantizeResponse& response : peer.Take(request)) stream.Write(response);
    }
    return grpc::Status::OK;
  }

 private:
  grpc::Status Quantize(grpc::ServerContext* context, QuantizeStream* stream) override {
    ++calls;
    return quantize(*context, *stream);
  }

  grpc::Status Dequantize(grpc::ServerContext*,
                          grpc::ServerReaderWriter<v1::DequantizeResponse, v1::DequantizeRequest>* stream) override {
    ToyPeer::Settings dequantize = settings;
    dequantize.quantize = false;
    ++calls;
    ToyPeer peer(dequantize);
    v1::DequantizeRequest request;
    size_t responses = 0;
    while (stream->Read(&request)) {
      for (const auto& response : peer.Take(Recast<v1::QuantizeRequest>(request))) {
        if (responses++ == dequantize_responses_before_break) return {grpc::UNAVAILABLE, "gone"};
        stream->Write(Recast<v1::DequantizeResponse>(response));
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override {
    response->set_version("1.2.3");
    response->set_epoch(42);
    response->add_devices("cpu");
    v1::Gpu& gpu = *response->add_gpus();
    gpu.set_name("GPU-1f");
    gpu.set_target("sm_90");
    gpu.set_state("quarantined");
    gpu.set_batches(1);
    gpu.set_value_bytes(2);
    gpu.set_losses(3);
    gpu.set_replays(4);
    response->mutable_limits()->set_window_bytes(8u << 20);
    response->mutable_limits()->set_stall_ms_max(60'000);
    return grpc::Status::OK;
  }

  grpc::Status ListSchemes(grpc::ServerContext*, const v1::ListSchemesRequest*,
                           v1::ListSchemesResponse* response) override {
    v1::SchemeDescription& toy = *response->add_schemes();
    toy.mutable_scheme()->set_preset("toy");
    toy.set_bits_per_weight(8.5);
    toy.add_segments("codes");
    v1::OverrideDescription& block_size = *toy.add_overrides();
    block_size.set_name("block_size");
    block_size.add_values("64");
    block_size.set_default_value("64");
    return grpc::Status::OK;
  }
};

// Opens once; lets both sides of a test wait for each other.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// Reads until the client goes away.
grpc::Status ReadToTheEnd(QuantizeStream& stream) {
  v1::QuantizeRequest request;
  while (stream.Read(&request)) {
  }
  return grpc::Status::OK;
}

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    client_ = MakeClient("127.0.0.1:" + std::to_string(port));
  }

  std::unique_ptr<Client> MakeClient(const std::string& address) {
    auto client = Client::Create(
        {.address = address, .retry = {}, .sleeper = [this](absl::Duration delay) { delays_.push_back(delay); }});
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  static TensorView View(const std::string& values) {
    return {"w", DataType::kFloat32, {values.size() / 4}, std::as_bytes(std::span(values))};
  }

  // Behaviours wait at them, so they must outlive the server.
  Gate reached_, over_;
  std::vector<absl::Duration> delays_;
  ToyService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

std::string BytesOf(const std::vector<std::byte>& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

TEST_F(ClientTest, QuantizesAndDequantizesAtEveryFrameSize) {
  service_.settings.batch_units = 100'000;
  const std::string values = ToyValues(200'003);
  for (uint32_t frame_data_bytes : {1000u, 65536u, 1u << 20, (4u << 20) - (64u << 10)}) {
    const CallOptions options{.frame_data_bytes = frame_data_bytes};
    const auto quantized = client_->Quantize(View(values), {.preset = "toy"}, options);
    ASSERT_TRUE(quantized.ok()) << quantized.status();
    EXPECT_EQ(quantized->name, "w");
    EXPECT_EQ(quantized->source_dtype, DataType::kFloat32);
    EXPECT_THAT(quantized->shape, ElementsAre(200'003));
    EXPECT_EQ(quantized->scheme.format_revision, 1u);
    EXPECT_EQ(quantized->summary.device, "toy");
    const auto expected = toy::Quantized(values);
    ASSERT_EQ(quantized->segments.size(), expected.size());
    for (const Segment& segment : quantized->segments) EXPECT_EQ(BytesOf(segment.bytes), expected.at(segment.name));

    const auto back = client_->Dequantize(quantized->View(), DataType::kFloat32, options);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(BytesOf(back->values), values);
  }
}

TEST_F(ClientTest, DequantizesBatchByBatch) {
  service_.settings.batch_units = 100;
  const std::string values = ToyValues(200'003);
  const auto quantized = client_->Quantize(View(values), {.preset = "toy"});
  ASSERT_TRUE(quantized.ok()) << quantized.status();
  const auto back = client_->Dequantize(quantized->View(), DataType::kFloat32);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(BytesOf(back->values), values);
}

TEST_F(ClientTest, WorksWithOneByteInEveryFrame) {
  service_.settings.batch_units = 100;
  const std::string values = ToyValues(130);
  const CallOptions options{.frame_data_bytes = 1};
  const auto quantized = client_->Quantize(View(values), {.preset = "toy"}, options);
  ASSERT_TRUE(quantized.ok()) << quantized.status();
  const auto back = client_->Dequantize(quantized->View(), DataType::kFloat32, options);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(BytesOf(back->values), values);
}

TEST_F(ClientTest, WorksInProcess) {
  const auto client = Client::OverChannel(server_->InProcessChannel({}));
  ASSERT_TRUE(client.ok()) << client.status();
  const std::string values = ToyValues(50'000);
  const auto quantized = (*client)->Quantize(View(values), {.preset = "toy"});
  ASSERT_TRUE(quantized.ok()) << quantized.status();
  EXPECT_EQ(BytesOf(quantized->segments[1].bytes), toy::Quantized(values).at(quantized->segments[1].name));
}

TEST_F(ClientTest, RunsCallsOfManyThreadsAtOnce) {
  const std::string values = ToyValues(20'000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto quantized = client_->Quantize(View(values), {.preset = "toy"});
      ASSERT_TRUE(quantized.ok()) << quantized.status();
      EXPECT_EQ(BytesOf(quantized->segments[1].bytes), toy::Quantized(values).at(quantized->segments[1].name));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ClientTest, ReportsProgressOnTheCallingThreadUpToTheEnd) {
  const std::string values = ToyValues(200'000);
  const std::thread::id self = std::this_thread::get_id();
  std::vector<uint64_t> consumed;
  CallOptions options;
  options.progress = [&](uint64_t consumed_bytes, uint64_t total_bytes) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    EXPECT_EQ(total_bytes, values.size());
    consumed.push_back(consumed_bytes);
  };
  ASSERT_TRUE(client_->Quantize(View(values), {.preset = "toy"}, options).ok());
  EXPECT_TRUE(std::is_sorted(consumed.begin(), consumed.end()));
  EXPECT_EQ(consumed.back(), values.size());
}

TEST_F(ClientTest, RetriesRefusedStreamsAfterTheServersPushback) {
  service_.quantize = [this](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    if (service_.calls > 2) return service_.Serve(stream);
    context.AddTrailingMetadata("grpc-retry-pushback-ms", service_.calls == 1 ? "250" : "40");
    return grpc::Status(grpc::UNAVAILABLE, "draining");
  };
  const std::string values = ToyValues(100'000);
  RecordingSink sink;
  const auto summary = client_->Quantize(View(values), {.preset = "toy"}, sink);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_THAT(delays_, ElementsAre(absl::Milliseconds(250), absl::Milliseconds(40)));
  EXPECT_EQ(sink.begins, 1);
  EXPECT_EQ(sink.written, toy::Quantized(values));
}

TEST_F(ClientTest, RetriesATensorThatIsRefusedInBandAfterTheDelayOfItsRetryInfo) {
  service_.quantize = [this](grpc::ServerContext&, QuantizeStream& stream) -> grpc::Status {
    if (service_.calls > 1) return service_.Serve(stream);
    v1::QuantizeRequest request;
    stream.Read(&request);
    v1::QuantizeResponse refusal;
    refusal.set_tensor_seq(1);
    refusal.mutable_error()->set_code(grpc::UNAVAILABLE);
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(3);
    refusal.mutable_error()->add_details()->PackFrom(retry);
    stream.Write(refusal);
    return ReadToTheEnd(stream);
  };
  EXPECT_TRUE(client_->Quantize(View(ToyValues(100)), {.preset = "toy"}).ok());
  EXPECT_THAT(delays_, ElementsAre(absl::Seconds(3)));
}

TEST_F(ClientTest, GivesUpWhenEveryAttemptIsRefused) {
  service_.quantize = [](grpc::ServerContext&, QuantizeStream&) { return grpc::Status(grpc::UNAVAILABLE, "full"); };
  const absl::Status status = client_->Quantize(View(ToyValues(100)), {.preset = "toy"}).status();
  EXPECT_EQ(status, absl::UnavailableError("full"));
  EXPECT_EQ(service_.calls, 5);
}

// Serves as many responses as asked for, then breaks.
Behaviour BreaksAfter(ToyService& service, size_t responses) {
  return [&service, responses](grpc::ServerContext&, QuantizeStream& stream) -> grpc::Status {
    ToyPeer peer(service.settings);
    v1::QuantizeRequest request;
    size_t left = responses;
    while (stream.Read(&request)) {
      for (const v1::QuantizeResponse& response : peer.Take(request)) {
        if (left-- == 0) return {grpc::UNAVAILABLE, "gone"};
        stream.Write(response);
      }
    }
    return grpc::Status::OK;
  };
}

TEST_F(ClientTest, GoesOnWhereTheResultsEndedWhenAStreamBreaks) {
  service_.settings.response_data_bytes = 1000;
  service_.settings.window_bytes = 20'000;
  service_.quantize = [&](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    return BreaksAfter(service_, 40)(context, stream);
  };
  const std::string values = ToyValues(200'000);
  RecordingSink sink;
  const auto summary = client_->Quantize(View(values), {.preset = "toy"}, sink);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(sink.begins, 1);
  EXPECT_EQ(sink.written, toy::Quantized(values));
  // Each stream brought less than 40 KB of the 212 KB.
  EXPECT_GE(service_.calls, 6);
}

TEST_F(ClientTest, ADequantizationGoesOnWithItsOwnPartOfEverySegment) {
  service_.dequantize_responses_before_break = 300;
  service_.settings.response_data_bytes = 1000;
  const std::string values = ToyValues(200'000);
  const auto segments = toy::Quantized(values);
  QuantizedTensorView view{"w", {values.size() / 4}, {.preset = "toy"}, {}};
  for (const auto& [name, bytes] : segments) {
    view.segments.push_back({name, DataType::kFloat32, {}, std::as_bytes(std::span(bytes))});
  }
  RecordingSink sink;
  const auto summary = client_->Dequantize(view, DataType::kFloat32, sink);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(sink.written.at("values"), values);
  EXPECT_GE(service_.calls, 2);
}

TEST_F(ClientTest, AResumedSummaryCoversWhatCameBefore) {
  service_.settings.response_data_bytes = 1000;
  service_.quantize = [&](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    return service_.calls == 1 ? BreaksAfter(service_, 30)(context, stream) : service_.Serve(stream);
  };
  // The peer says 2.5 and 3 of whatever it sees.
  std::vector<float> values(100'000, 1.0f);
  values[5] = -7;
  values[6] = std::numeric_limits<float>::quiet_NaN();
  const TensorView view{"w", DataType::kFloat32, {values.size()}, std::as_bytes(std::span(values))};
  const auto result = client_->Quantize(view, {.preset = "toy"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(service_.calls, 2);
  EXPECT_EQ(result->summary.amax, 7);
  EXPECT_EQ(result->summary.nonfinite_count, 4u);
}

TEST_F(ClientTest, StartsAnewWhereOnlyTheWholeTensorHasAStatistic) {
  service_.settings.response_data_bytes = 1000;
  service_.quantize = [&](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    if (service_.calls == 1) return BreaksAfter(service_, 30)(context, stream);
    if (service_.calls == 3) return service_.Serve(stream);
    v1::QuantizeRequest request;
    stream.Read(&request);
    EXPECT_TRUE(request.header().has_range());
    v1::QuantizeResponse refusal;
    refusal.set_tensor_seq(1);
    refusal.mutable_error()->set_code(grpc::INVALID_ARGUMENT);
    google::rpc::ErrorInfo info;
    info.set_reason("STATISTIC_NEEDED");
    info.set_domain("quantd");
    refusal.mutable_error()->add_details()->PackFrom(info);
    stream.Write(refusal);
    return ReadToTheEnd(stream);
  };
  const std::string values = ToyValues(100'000);
  RecordingSink sink;
  const auto summary = client_->Quantize(View(values), {.preset = "toy"}, sink);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(service_.calls, 3);
  EXPECT_EQ(sink.written, toy::Quantized(values));
}

TEST_F(ClientTest, RefusesToGoOnWithAServerThatMakesOtherBytes) {
  service_.settings.response_data_bytes = 1000;
  service_.quantize = [&](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    if (service_.calls == 1) return BreaksAfter(service_, 30)(context, stream);
    ToyPeer peer(service_.settings);
    v1::QuantizeRequest request;
    stream.Read(&request);
    v1::QuantizeResponse first = peer.Take(request).front();
    first.mutable_accept()->mutable_scheme()->set_format_revision(2);
    stream.Write(first);
    return ReadToTheEnd(stream);
  };
  const absl::Status status = client_->Quantize(View(ToyValues(100'000)), {.preset = "toy"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

TEST_F(ClientTest, RefusesAServerThatMakesAnotherPartThanTheRange) {
  service_.settings.response_data_bytes = 1000;
  service_.quantize = [&](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    if (service_.calls == 1) return BreaksAfter(service_, 30)(context, stream);
    ToyPeer peer(service_.settings);
    v1::QuantizeRequest request;
    stream.Read(&request);
    v1::QuantizeResponse first = peer.Take(request).front();
    v1::Segment& output = *first.mutable_accept()->mutable_outputs(0);
    output.set_end_bytes(output.begin_bytes());
    stream.Write(first);
    return ReadToTheEnd(stream);
  };
  const absl::Status status = client_->Quantize(View(ToyValues(100'000)), {.preset = "toy"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("another part"));
}

TEST_F(ClientTest, GivesUpAStreamThatBreaksAgainAndAgainWithoutANewResult) {
  service_.quantize = [&](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    return BreaksAfter(service_, 1)(context, stream);
  };
  service_.settings.response_data_bytes = 1;
  const absl::Status status = client_->Quantize(View(ToyValues(100'000)), {.preset = "toy"}).status();
  EXPECT_EQ(status, absl::UnavailableError("gone"));
  EXPECT_LE(service_.calls, 7);
}

TEST_F(ClientTest, ReturnsTheInBandErrorAndLeavesTheStreamInOrder) {
  std::atomic<bool> saw_last = false;
  service_.quantize = [&](grpc::ServerContext& context, QuantizeStream& stream) -> grpc::Status {
    v1::QuantizeRequest request;
    stream.Read(&request);
    EXPECT_FALSE(request.last());
    v1::QuantizeResponse failure;
    failure.set_tensor_seq(1);
    failure.mutable_error()->set_code(grpc::INVALID_ARGUMENT);
    failure.mutable_error()->set_message("no such scheme");
    stream.Write(failure);
    while (stream.Read(&request)) saw_last = saw_last || request.last();
    EXPECT_FALSE(context.IsCancelled());
    over_.Open();
    return grpc::Status::OK;
  };
  const absl::Status status = client_->Quantize(View(ToyValues(300'000)), {.preset = "none"}).status();
  EXPECT_EQ(status, absl::InvalidArgumentError("no such scheme"));
  over_.Wait();
  EXPECT_TRUE(saw_last);
}

TEST_F(ClientTest, ReturnsTheStatusOfTheStreamWithItsReason) {
  service_.quantize = [](grpc::ServerContext&, QuantizeStream&) {
    google::rpc::Status rich;
    google::rpc::ErrorInfo info;
    info.set_domain("quantd");
    info.set_reason("PRINCIPAL_STREAMS");
    rich.add_details()->PackFrom(info);
    return grpc::Status(grpc::RESOURCE_EXHAUSTED, "too many streams", rich.SerializeAsString());
  };
  const absl::Status status = client_->Quantize(View(ToyValues(100)), {.preset = "toy"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailsOf(status).reason, "PRINCIPAL_STREAMS");
}

TEST_F(ClientTest, CallsAnEndWithoutSummaryAnError) {
  service_.quantize = [](grpc::ServerContext&, QuantizeStream&) { return grpc::Status::OK; };
  const absl::Status status = client_->Quantize(View(ToyValues(100)), {.preset = "toy"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("before the tensor's summary"));
}

TEST_F(ClientTest, CancelsAStreamWhoseServerDoesNotAnswer) {
  service_.quantize = [&](grpc::ServerContext&, QuantizeStream& stream) {
    reached_.Open();
    return ReadToTheEnd(stream);
  };
  CancelToken cancel;
  CallOptions options;
  options.cancel = &cancel;
  std::thread canceller([&] {
    reached_.Wait();
    cancel.Cancel();
  });
  // Much more than any window: reads, writes and credit all stand still.
  const absl::Status status = client_->Quantize(View(ToyValues(2'000'000)), {.preset = "toy"}, options).status();
  canceller.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, CancelsAStreamWhoseServerDoesNotRead) {
  // A server that grants credit but reads nothing more: the writes pile up in the transport.
  service_.settings.window_bytes = 64u << 20;
  service_.quantize = [&](grpc::ServerContext&, QuantizeStream& stream) -> grpc::Status {
    ToyPeer peer(service_.settings);
    v1::QuantizeRequest request;
    stream.Read(&request);
    v1::QuantizeResponse response = peer.Take(request).front();
    response.clear_pieces();
    response.clear_data();
    stream.Write(response);
    reached_.Open();
    over_.Wait();
    return grpc::Status::OK;
  };
  CancelToken cancel;
  CallOptions options;
  options.cancel = &cancel;
  std::thread canceller([&] {
    reached_.Wait();
    cancel.Cancel();
  });
  const absl::Status status = client_->Quantize(View(ToyValues(10'000'000)), {.preset = "toy"}, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  over_.Open();
  canceller.join();
}

TEST_F(ClientTest, RefusesToStartWithACancelledToken) {
  CancelToken cancel;
  cancel.Cancel();
  CallOptions options;
  options.cancel = &cancel;
  EXPECT_EQ(client_->Quantize(View(ToyValues(100)), {.preset = "toy"}, options).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, EndsAtTheDeadline) {
  service_.quantize = [](grpc::ServerContext&, QuantizeStream& stream) { return ReadToTheEnd(stream); };
  const CallOptions options{.timeout = absl::Milliseconds(100)};
  const absl::Status status = client_->Quantize(View(ToyValues(2'000'000)), {.preset = "toy"}, options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, EndsWithWhatTheSinkSays) {
  RecordingSink sink;
  sink.refusal = absl::ResourceExhaustedError("disk full");
  EXPECT_EQ(client_->Quantize(View(ToyValues(500'000)), {.preset = "toy"}, sink).status(), sink.refusal);
}

TEST_F(ClientTest, DoesNotRetryWhatTheSinkSays) {
  RecordingSink sink;
  sink.refusal = absl::UnavailableError("tape offline");
  EXPECT_EQ(client_->Quantize(View(ToyValues(100)), {.preset = "toy"}, sink).status(), sink.refusal);
  EXPECT_EQ(service_.calls, 1);
}

TEST_F(ClientTest, SaysUnavailableAfterTheRetriesWhereNobodyListens) {
  const auto client = MakeClient("unix:/nonexistent/quantd.sock");
  EXPECT_EQ(client->Quantize(View(ToyValues(100)), {.preset = "toy"}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(delays_.size(), 4u);
}

TEST_F(ClientTest, ListsSchemes) {
  const auto schemes = client_->ListSchemes();
  ASSERT_TRUE(schemes.ok()) << schemes.status();
  ASSERT_EQ(schemes->size(), 1u);
  EXPECT_EQ(schemes->front().scheme.preset, "toy");
  EXPECT_EQ(schemes->front().bits_per_weight, 8.5);
  EXPECT_THAT(schemes->front().segments, ElementsAre("codes"));
  EXPECT_EQ(schemes->front().overrides.front().default_value, "64");
}

TEST_F(ClientTest, GetsTheServersInfo) {
  const auto info = client_->GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->version, "1.2.3");
  EXPECT_EQ(info->epoch, 42u);
  EXPECT_THAT(info->devices, ElementsAre("cpu"));
  ASSERT_EQ(info->gpus.size(), 1u);
  EXPECT_EQ(info->gpus[0].name, "GPU-1f");
  EXPECT_EQ(info->gpus[0].target, "sm_90");
  EXPECT_EQ(info->gpus[0].state, "quarantined");
  EXPECT_EQ(info->gpus[0].batches, 1u);
  EXPECT_EQ(info->gpus[0].value_bytes, 2u);
  EXPECT_EQ(info->gpus[0].losses, 3u);
  EXPECT_EQ(info->gpus[0].replays, 4u);
  EXPECT_EQ(info->window_bytes, 8u << 20);
  EXPECT_EQ(info->stall_max, absl::Seconds(60));
}

TEST(ClientOptions, AreChecked) {
  EXPECT_EQ(Client::Create({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Client::Create({.address = "localhost:1", .retry = {.attempts_max = 0}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quantd
