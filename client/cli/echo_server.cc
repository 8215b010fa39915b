#include "client/cli/echo_server.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cpp/stream_transport.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/base/crc32c.h"
#include "kernels/base/status_macros.h"
#include "proto/codec/grpc_frame.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd::cli {
namespace {

// As much as quantd takes in one message, with its fields.
constexpr int kMessageBytesMax = 8 << 20;

// Copies the parts one behind another, and returns their CRC32C.
uint32_t Gather(std::span<const wire::ByteSpan> parts, std::vector<std::byte>& memory) {
  uint64_t bytes = 0;
  for (const wire::ByteSpan part : parts) bytes += part.size();
  memory.resize(std::max<uint64_t>(memory.size(), bytes));
  std::byte* target = memory.data();
  uint32_t crc = 0;
  for (const wire::ByteSpan part : parts) {
    crc = CopyWithCrc32c(target, part, crc);
    target += part.size();
  }
  return crc;
}

class EchoReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit EchoReactor(const EchoSettings& settings) : settings_(settings), answer_(settings.answer_bytes) {
    StartRead(&request_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    v1::QuantizeResponse fields;
    if (settings_.gathers_and_checks) {
      const auto frame = wire::ReceivedFrame::Parse(request_);
      if (!frame.ok()) return Finish({grpc::StatusCode::INVALID_ARGUMENT, "not a frame"});
      fields.set_consumed_bytes(Gather(frame->data(), gathered_));
      fields.add_pieces()->set_crc32c(ExtendCrc32c(0, answer_));
    }
    const grpc::Slice answer(answer_.data(), answer_.size(), grpc::Slice::STATIC_SLICE);
    response_ = wire::JoinFrame(fields, std::span(&answer, answer_.empty() ? 0 : 1));
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&request_);
  }
  void OnDone() override { delete this; }

  const EchoSettings settings_;
  const std::vector<std::byte> answer_;
  std::vector<std::byte> gathered_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

class EchoService final
    : public v1::QuantizationService::WithRawCallbackMethod_Quantize<v1::QuantizationService::Service> {
 public:
  explicit EchoService(const EchoSettings& settings) : settings_(settings) {}

 private:
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Quantize(grpc::CallbackServerContext*) override {
    return new EchoReactor(settings_);
  }
  const EchoSettings settings_;
};

absl::Status EchoFailed() { return absl::InternalError("The echo beside which quantd is measured failed."); }

class EchoServer final : public EchoBaseline {
 public:
  explicit EchoServer(const EchoSettings& settings) : settings_(settings), service_(settings) {}
  ~EchoServer() override {
    channel_.reset();
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  absl::Status Start() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::UnavailableError("No port of the loopback interface is free.");
    address_ = absl::StrCat("127.0.0.1:", port);
    channel_ = NewChannel();
    return absl::OkStatus();
  }

  absl::Status Stream(std::span<const std::byte> bytes, uint64_t message_bytes, uint64_t in_flight_max) override {
    const auto stream = OpenStream(NewChannel(), BulkMethod::kQuantize, absl::InfiniteFuture());
    const uint64_t messages = bytes.size() / message_bytes;
    std::vector<std::byte> memory;
    uint64_t sent = 0;
    for (uint64_t answered = 0; answered < messages;) {
      const auto may_send = [&] { return sent < messages && sent - answered < in_flight_max; };
      while (may_send() && stream->CanSend()) {
        Send(*stream, bytes.subspan(sent * message_bytes, message_bytes), sent + 1 == messages);
        ++sent;
      }
      while (auto answer = stream->Receive()) {
        QUANTD_RETURN_IF_ERROR(Take(*answer, memory));
        ++answered;
      }
      if (stream->ended() && answered < messages) return EchoFailed();
      stream->Wait(may_send(), absl::InfiniteDuration());
    }
    return stream->Finish(absl::InfiniteDuration()).status.ok() ? absl::OkStatus() : EchoFailed();
  }

  absl::Status Exchange(std::span<const std::byte> bytes) override {
    const auto stream = OpenStream(channel_, BulkMethod::kQuantize, absl::InfiniteFuture());
    std::vector<std::byte> memory;
    Send(*stream, bytes, true);
    std::optional<grpc::ByteBuffer> answer;
    while (!(answer = stream->Receive()).has_value()) {
      if (stream->ended()) return EchoFailed();
      stream->Wait(false, absl::InfiniteDuration());
    }
    QUANTD_RETURN_IF_ERROR(Take(*answer, memory));
    return stream->Finish(absl::InfiniteDuration()).status.ok() ? absl::OkStatus() : EchoFailed();
  }

 private:
  std::shared_ptr<grpc::Channel> NewChannel() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
    return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
  }

  void Send(StreamTransport& stream, wire::ByteSpan data, bool last) const {
    v1::QuantizeRequest fields;
    if (settings_.gathers_and_checks) fields.add_pieces()->set_crc32c(ExtendCrc32c(0, data));
    stream.Send(fields, std::span(&data, 1), last);
  }

  absl::Status Take(const grpc::ByteBuffer& answer, std::vector<std::byte>& memory) const {
    const auto frame = wire::ReceivedFrame::Parse(answer);
    if (!frame.ok() || frame->data_bytes() != settings_.answer_bytes) return EchoFailed();
    if (settings_.gathers_and_checks) Gather(frame->data(), memory);
    return absl::OkStatus();
  }

  const EchoSettings settings_;
  EchoService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::shared_ptr<grpc::Channel> channel_;  // of Exchange
};

}  // namespace

absl::StatusOr<std::unique_ptr<EchoBaseline>> StartEchoServer(const EchoSettings& settings) {
  auto server = std::make_unique<EchoServer>(settings);
  QUANTD_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace quantd::cli
