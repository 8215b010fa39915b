// Calls as a stock client makes them, by name and without generated stubs.
#pragma once

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <memory>
#include <string>

#include "grpc/health/v1/health.pb.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd::server {

// A new connection, whatever other channels to the same address exist.
inline std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

inline void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
}

template <typename Request, typename Response>
grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const Request& request,
                  Response* response) {
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::CompletionQueue queue;
  grpc::TemplatedGenericStub<Request, Response> stub(channel);
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

// "SERVING", "NOT_SERVING", or the error's message.
inline std::string Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = Call(channel, "/grpc.health.v1.Health/Check", request, &response);
  if (!status.ok()) return status.error_message();
  return grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
}

// Whom the server takes this channel's caller to be, or the error's message.
inline std::string PrincipalOf(const std::shared_ptr<grpc::Channel>& channel) {
  v1::GetServerInfoResponse response;
  grpc::ClientContext context;
  SetDeadline(context);
  const grpc::Status status =
      v1::QuantizationService::NewStub(channel)->GetServerInfo(&context, v1::GetServerInfoRequest(), &response);
  return status.ok() ? response.principal() : status.error_message();
}

}  // namespace quantd::server
