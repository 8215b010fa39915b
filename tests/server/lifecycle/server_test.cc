#include "server/lifecycle/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/server/lifecycle/calls.h"
#include "tests/server/lifecycle/fake_service.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return std::string();
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

// The first answer of gRPC's reflection service to a serialized ServerReflectionRequest, or the error's message.
std::string Reflect(const std::shared_ptr<grpc::Channel>& channel, const std::string& request) {
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel);
  const auto call =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  const grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  queue.Next(&tag, &ok);
  const bool answered = ok;
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  return answered ? Bytes(answer) : status.error_message() + " code " + std::to_string(status.error_code());
}

// ServerReflectionRequest{list_services: ""} and {file_containing_symbol: symbol}, serialized.
std::string ListServices() { return std::string("\x3a\x00", 2); }
std::string FileContaining(const std::string& symbol) {
  return "\x22" + std::string(1, static_cast<char>(symbol.size())) + symbol;
}

grpc::Status Channelz(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ByteBuffer response;
  return Call(channel, "/grpc.channelz.v1.Channelz/GetServers", grpc::ByteBuffer(nullptr, 0), &response);
}

class ServerTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Server>> Start(const ServerConfig& config) {
    return Server::Start(config, service_, *logger_, device_health_);
  }

  std::unique_ptr<Server> MustStart(const ServerConfig& config) {
    auto server = Start(config);
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }

  static ServerConfig AnyPort() {
    ServerConfig config;
    config.listen = {"127.0.0.1:0"};
    return config;
  }

  std::ostringstream log_;
  const std::unique_ptr<Logger> logger_ = MakeStreamLogger(LogLevel::kInfo, LogFormat::kText, log_);
  FakeService service_;
  DeviceHealth device_health_;
};

TEST_F(ServerTest, ReportsTheAddressesThatItIsReachedAt) {
  ServerConfig config;
  config.listen = {"127.0.0.1:0", "localhost:0"};
  const auto server = MustStart(config);
  ASSERT_EQ(server->addresses().size(), 2u);
  EXPECT_THAT(server->addresses()[0], MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_THAT(server->addresses()[1], MatchesRegex("localhost:[1-9][0-9]*"));
  for (const std::string& address : server->addresses()) EXPECT_EQ(PrincipalOf(Connect(address)), "anonymous");
  EXPECT_EQ(server->admin_address(), "");
}

TEST_F(ServerTest, RefusesAnAddressThatIsTakenAndNamesIt) {
  const auto first = MustStart(AnyPort());
  ServerConfig config;
  config.listen = {"127.0.0.1:0", first->addresses()[0]};
  const absl::Status status = Start(config).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(first->addresses()[0]));
}

TEST_F(ServerTest, RefusesAnAdminAddressThatIsTaken) {
  const auto first = MustStart(AnyPort());
  ServerConfig config = AnyPort();
  config.admin_listen = first->addresses()[0];
  const absl::Status status = Start(config).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(config.admin_listen));
}

TEST_F(ServerTest, ServesInProcessWithoutAListener) {
  ServerConfig config;
  config.listen.clear();
  const auto server = MustStart(config);
  EXPECT_EQ(PrincipalOf(server->InProcessChannel()), "anonymous");
  EXPECT_EQ(Health(server->InProcessChannel(), ""), "SERVING");
}

TEST_F(ServerTest, ReflectionListsAndDescribesTheService) {
  const auto server = MustStart(AnyPort());
  const auto channel = Connect(server->addresses()[0]);
  EXPECT_THAT(Reflect(channel, ListServices()), HasSubstr("quantd.v1.QuantizationService"));
  EXPECT_THAT(Reflect(channel, FileContaining("quantd.v1.QuantizationService")), HasSubstr("QuantizeRequest"));
}

TEST_F(ServerTest, ReflectionDescribesHealth) {
  const auto server = MustStart(AnyPort());
  const auto channel = Connect(server->addresses()[0]);
  EXPECT_THAT(Reflect(channel, ListServices()), HasSubstr("grpc.health.v1.Health"));
  EXPECT_THAT(Reflect(channel, FileContaining("grpc.health.v1.Health")), HasSubstr("HealthCheckRequest"));
}

TEST_F(ServerTest, ReflectionCanBeSwitchedOff) {
  ServerConfig config = AnyPort();
  config.reflection = false;
  config.admin_listen = "127.0.0.1:0";
  const auto server = MustStart(config);
  for (const std::string& address : {server->addresses()[0], server->admin_address()}) {
    EXPECT_THAT(Reflect(Connect(address), ListServices()), HasSubstr("code 12"));
  }
}

TEST_F(ServerTest, ChannelzIsOnTheAdminListenerOnly) {
  ServerConfig config = AnyPort();
  config.admin_listen = "127.0.0.1:0";
  const auto server = MustStart(config);
  EXPECT_TRUE(Channelz(Connect(server->admin_address())).ok());
  EXPECT_EQ(Channelz(Connect(server->addresses()[0])).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Channelz(server->InProcessChannel()).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(Reflect(Connect(server->addresses()[0]), ListServices()), Not(HasSubstr("channelz")));
  EXPECT_THAT(Reflect(Connect(server->admin_address()), ListServices()), HasSubstr("channelz"));
}

TEST_F(ServerTest, TheAdminListenerDoesNotQuantize) {
  ServerConfig config = AnyPort();
  config.admin_listen = "127.0.0.1:0";
  const auto server = MustStart(config);
  EXPECT_NE(PrincipalOf(Connect(server->admin_address())), "anonymous");
  EXPECT_THAT(Reflect(Connect(server->admin_address()), ListServices()), Not(HasSubstr("QuantizationService")));
}

TEST_F(ServerTest, RefusesCompressedMessages) {
  const auto server = MustStart(AnyPort());
  for (grpc_compression_algorithm algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    SetDeadline(context);
    context.set_compression_algorithm(algorithm);
    v1::GetServerInfoResponse response;
    const grpc::Status status = v1::QuantizationService::NewStub(Connect(server->addresses()[0]))
                                    ->GetServerInfo(&context, v1::GetServerInfoRequest(), &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
  }
}

// A message of that many bytes: one field that nobody knows.
std::string MessageOf(uint32_t bytes) {
  std::string message = "\xc2\x3e";  // field 1000, with a length
  const uint32_t length = bytes - 6;
  for (int shift : {0, 7, 14}) message += static_cast<char>(0x80 | ((length >> shift) & 0x7f));
  message += static_cast<char>(length >> 21);
  message.resize(bytes);
  return message;
}

TEST_F(ServerTest, RefusesAMessageOfMoreThan4MiB) {
  const auto server = MustStart(AnyPort());
  const auto channel = Connect(server->addresses()[0]);
  const auto answer_to = [&](uint32_t bytes) {
    const grpc::Slice slice(MessageOf(bytes));
    grpc::ByteBuffer response;
    return Call(channel, "/quantd.v1.QuantizationService/GetServerInfo", grpc::ByteBuffer(&slice, 1), &response);
  };
  EXPECT_TRUE(answer_to(4u << 20).ok());
  EXPECT_EQ(answer_to((4u << 20) + 1).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, EndsWithStreamsOpen) {
  grpc::ClientContext context;
  SetDeadline(context);
  auto server = MustStart(AnyPort());
  const auto stream = v1::QuantizationService::NewStub(Connect(server->addresses()[0]))->Quantize(&context);
  stream->WaitForInitialMetadata();
  server.reset();
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_EQ(service_.open, 0u);
}

}  // namespace
}  // namespace quantd::server
