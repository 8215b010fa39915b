// What the service makes of a connection: streamed bnb-nf4 Quantize of float32 over loopback TCP, beside two echoes
// that carry the same messages on as many connections and compute nothing. Everything runs in this process, round after
// round; the medians are compared.
//   service_benchmark [GIB_PER_CONNECTION] [ROUNDS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/client.h"
#include "client/cpp/stream_transport.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/base/crc32c.h"
#include "proto/codec/grpc_frame.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "tests/support/repeated_values.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kFrameBytes = 1 << 20;
constexpr uint64_t kAnswerBytes = kFrameBytes / 4 / 64 * (32 + 4);  // codes and scales of a frame
constexpr uint64_t kFramesInFlight = 8;

enum class Echo { kRaw, kGatherAndCrc };

// Answers every frame with as many bytes as bnb-nf4 would make of it.
class EchoReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit EchoReactor(Echo echo) : echo_(echo), memory_(kFrameBytes) { StartRead(&request_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    v1::QuantizeResponse fields;
    if (echo_ == Echo::kGatherAndCrc) {
      const auto frame = wire::ReceivedFrame::Parse(request_);
      std::byte* target = memory_.data();
      uint32_t crc = 0;
      for (const wire::ByteSpan part : frame->data()) {
        crc = CopyWithCrc32c(target, part, crc);
        target += part.size();
      }
      fields.add_pieces()->set_crc32c(ExtendCrc32c(crc, std::span(memory_).first(kAnswerBytes)));
    }
    const grpc::Slice answer(memory_.data(), kAnswerBytes, grpc::Slice::STATIC_SLICE);
    response_ = wire::JoinFrame(fields, std::span(&answer, 1));
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&request_);
  }
  void OnDone() override { delete this; }

  const Echo echo_;
  std::vector<std::byte> memory_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

class EchoService final
    : public v1::QuantizationService::WithRawCallbackMethod_Quantize<v1::QuantizationService::Service> {
 public:
  explicit EchoService(Echo echo) : echo_(echo) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~EchoService() override { server_->Shutdown(); }

  // Sends the bytes on one connection and waits for all answers.
  void Stream(std::span<const std::byte> bytes) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
    const auto stream = OpenStream(channel, BulkMethod::kQuantize, absl::InfiniteFuture());
    const uint64_t frames = bytes.size() / kFrameBytes;
    std::vector<std::byte> memory(kAnswerBytes);
    uint64_t sent = 0;
    for (uint64_t answered = 0; answered < frames;) {
      while (sent < frames && sent - answered < kFramesInFlight && stream->CanSend()) {
        const wire::ByteSpan data = bytes.subspan(sent * kFrameBytes, kFrameBytes);
        v1::QuantizeRequest fields;
        if (echo_ == Echo::kGatherAndCrc) fields.add_pieces()->set_crc32c(ExtendCrc32c(0, data));
        stream->Send(fields, std::span(&data, 1), ++sent == frames);
      }
      while (auto answer = stream->Receive()) {
        const auto frame = wire::ReceivedFrame::Parse(*answer);
        if (!frame.ok() || frame->data_bytes() != kAnswerBytes) std::abort();
        std::byte* target = memory.data();
        for (const wire::ByteSpan part : frame->data()) {
          if (echo_ == Echo::kGatherAndCrc) CopyWithCrc32c(target, part, 0);
          target += part.size();
        }
        ++answered;
      }
      stream->Wait(sent < frames && sent - answered < kFramesInFlight, absl::InfiniteDuration());
    }
    if (!stream->Finish().status.ok()) std::abort();
  }

 private:
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Quantize(grpc::CallbackServerContext*) override {
    return new EchoReactor(echo_);
  }

  const Echo echo_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

// Aborts if the answer is wrong.
void StreamThroughService(const std::string& address, const RepeatedValues& values) {
  const auto client = Client::Create({.address = address});
  PeriodicCodes codes;
  const auto summary =
      (*client)->Quantize(values.View(), {.preset = "bnb-nf4"}, codes, {.frame_data_bytes = kFrameBytes});
  if (!summary.ok() || codes.bytes() != values.bytes().size() / 8) {
    std::fprintf(stderr, "%s\n", summary.status().ToString().c_str());
    std::abort();
  }
}

double GigabytesPerSecond(int connections, uint64_t bytes, const std::function<void()>& stream) {
  const absl::Time begin = absl::Now();
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) threads.emplace_back(stream);
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(bytes) * connections / 1e9 / absl::ToDoubleSeconds(absl::Now() - begin);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Compare(uint64_t bytes, int rounds) {
  const RepeatedValues values(bytes);
  EchoService raw(Echo::kRaw);
  EchoService gather(Echo::kGatherAndCrc);
  TestService service({.compute_threads = std::max(1u, std::thread::hardware_concurrency())});
  std::printf("%-12s %18s %18s %18s %14s %14s\n", "connections", "raw echo GB/s", "gather+CRC GB/s", "bnb-nf4 GB/s",
              "of raw echo", "of gather+CRC");
  for (const int connections : {1, 2, 4}) {
    std::vector<double> raw_rates;
    std::vector<double> gather_rates;
    std::vector<double> service_rates;
    for (int round = 0; round < rounds; ++round) {
      raw_rates.push_back(GigabytesPerSecond(connections, bytes, [&] { raw.Stream(values.bytes()); }));
      gather_rates.push_back(GigabytesPerSecond(connections, bytes, [&] { gather.Stream(values.bytes()); }));
      service_rates.push_back(
          GigabytesPerSecond(connections, bytes, [&] { StreamThroughService(service.tcp_address(), values); }));
    }
    const double raw_rate = Median(raw_rates);
    const double gather_rate = Median(gather_rates);
    const double service_rate = Median(service_rates);
    std::printf("%-12d %18.2f %18.2f %18.2f %14.2f %14.2f\n", connections, raw_rate, gather_rate, service_rate,
                service_rate / raw_rate, service_rate / gather_rate);
  }
}

}  // namespace
}  // namespace quantd::testing

int main(int argc, char** argv) {
  const uint64_t gib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  if (gib == 0 || rounds <= 0) {
    std::fprintf(stderr, "usage: service_benchmark [GIB_PER_CONNECTION] [ROUNDS]\n");
    return 2;
  }
  quantd::testing::Compare(gib << 30, rounds);
  return 0;
}
