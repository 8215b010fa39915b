#include "client/cli/echo_server.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/base/crc32c.h"
#include "kernels/base/status_macros.h"
#include "proto/codec/grpc_frame.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd::cli {
namespace {

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

class GrpcEchoServer final : public EchoServer {
 public:
  explicit GrpcEchoServer(const EchoSettings& settings) : service_(settings) {}
  ~GrpcEchoServer() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  absl::Status Listen() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.SetMaxReceiveMessageSize(kEchoMessageBytesMax);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::UnavailableError("No port of the loopback interface is free.");
    address_ = absl::StrCat("127.0.0.1:", port);
    return absl::OkStatus();
  }
  std::string address() const override { return address_; }

 private:
  EchoService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EchoServer>> EchoServer::Start(const EchoSettings& settings) {
  auto server = std::make_unique<GrpcEchoServer>(settings);
  QUANTD_RETURN_IF_ERROR(server->Listen());
  return server;
}

uint32_t Gather(std::span<const std::span<const std::byte>> parts, std::vector<std::byte>& memory) {
  uint64_t bytes = 0;
  for (const auto part : parts) bytes += part.size();
  memory.resize(std::max<uint64_t>(memory.size(), bytes));
  std::byte* target = memory.data();
  uint32_t crc = 0;
  for (const auto part : parts) {
    crc = CopyWithCrc32c(target, part, crc);
    target += part.size();
  }
  return crc;
}

}  // namespace quantd::cli
