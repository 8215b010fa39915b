// A data plane that does nothing: says who calls, and holds streams open until they are cancelled or half-closed.
#pragma once

#include <atomic>
#include <string>

#include "quantd/v1/quantization_service.grpc.pb.h"
#include "server/rpc/quantization_service.h"
#include "server/session/principal.h"

namespace quantd::server {

class FakeService final : public QuantizationService {
 public:
  grpc::Service* service() override { return &rpcs_; }
  void BeginDrain() override { draining = true; }
  void HandBack() override { handed_back = true; }
  uint32_t open_streams() const override { return open; }

  std::atomic<bool> draining = false;
  std::atomic<bool> handed_back = false;
  std::atomic<uint32_t> open = 0;

 private:
  class Stream final : public grpc::ServerBidiReactor<v1::QuantizeRequest, v1::QuantizeResponse> {
   public:
    explicit Stream(std::atomic<uint32_t>& open) : open_(open) {
      ++open_;
      StartSendInitialMetadata();
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) Finish(grpc::Status::OK);
    }
    void OnDone() override {
      --open_;
      delete this;
    }

   private:
    std::atomic<uint32_t>& open_;
    v1::QuantizeRequest request_;
  };

  class Rpcs final : public v1::QuantizationService::CallbackService {
   public:
    explicit Rpcs(std::atomic<uint32_t>& open) : open_(open) {}

    grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context, const v1::GetServerInfoRequest*,
                                            v1::GetServerInfoResponse* response) override {
      const auto names = context->auth_context()->FindPropertyValues(std::string(kPrincipalProperty));
      response->set_principal(names.empty() ? Principal().name : std::string(names[0].data(), names[0].size()));
      grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
      reactor->Finish(names.size() > 1 ? grpc::Status(grpc::StatusCode::INTERNAL, "more than one principal")
                                       : grpc::Status::OK);
      return reactor;
    }

    grpc::ServerBidiReactor<v1::QuantizeRequest, v1::QuantizeResponse>* Quantize(
        grpc::CallbackServerContext*) override {
      return new Stream(open_);
    }

   private:
    std::atomic<uint32_t>& open_;
  };

  Rpcs rpcs_{open};
};

}  // namespace quantd::server
