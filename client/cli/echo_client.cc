#include "client/cli/echo_client.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/echo_server.h"
#include "client/cpp/stream_transport.h"
#include "grpcpp/create_channel.h"
#include "kernels/base/crc32c.h"
#include "kernels/base/status_macros.h"
#include "proto/codec/grpc_frame.h"
#include "quantd/v1/quantization_service.pb.h"

namespace quantd::cli {
namespace {

absl::Status EchoFailed() { return absl::InternalError("The echo beside which quantd is measured failed."); }

class EchoClient final : public EchoBaseline {
 public:
  EchoClient(std::string address, const EchoSettings& settings)
      : settings_(settings), address_(std::move(address)), channel_(NewChannel()) {}

  absl::Status Stream(std::span<const std::byte> bytes, uint64_t message_bytes, uint64_t in_flight_max,
                      const std::shared_ptr<const void>& owner) override {
    const auto stream = OpenStream(NewChannel(), BulkMethod::kQuantize, absl::InfiniteFuture());
    const uint64_t messages = bytes.size() / message_bytes;
    std::vector<std::byte> memory;
    uint64_t sent = 0;
    for (uint64_t answered = 0; answered < messages;) {
      const auto may_send = [&] { return sent < messages && sent - answered < in_flight_max; };
      while (may_send() && stream->CanSend()) {
        Send(*stream, bytes.subspan(sent * message_bytes, message_bytes), owner, sent + 1 == messages);
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
    Send(*stream, bytes, nullptr, true);
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
    arguments.SetMaxReceiveMessageSize(kEchoMessageBytesMax);
    return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
  }

  void Send(StreamTransport& stream, wire::ByteSpan data, const std::shared_ptr<const void>& owner, bool last) const {
    OutgoingFrame frame{.payload = {data}, .checksums = settings_.gathers_and_checks, .owner = owner};
    if (frame.checksums) frame.fields.add_pieces();
    stream.Send(std::move(frame), last);
  }

  absl::Status Take(const grpc::ByteBuffer& answer, std::vector<std::byte>& memory) const {
    const auto frame = wire::ReceivedFrame::Parse(answer);
    if (!frame.ok() || frame->data_bytes() != settings_.answer_bytes) return EchoFailed();
    if (settings_.gathers_and_checks) Gather(frame->data(), memory);
    return absl::OkStatus();
  }

  const EchoSettings settings_;
  const std::string address_;
  const std::shared_ptr<grpc::Channel> channel_;  // of Exchange
};

}  // namespace

std::unique_ptr<EchoBaseline> MakeEchoClient(const std::string& address, const EchoSettings& settings) {
  return std::make_unique<EchoClient>(address, settings);
}

}  // namespace quantd::cli
