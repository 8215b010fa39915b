#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <sstream>
#include <thread>
#include <vector>

#include "server/lifecycle/server.h"
#include "server/worker/gpu_worker.h"
#include "tests/server/lifecycle/calls.h"
#include "tests/server/lifecycle/fake_service.h"

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Time that passes at once.
class FakeWaiter final : public DrainWaiter {
 public:
  bool WaitOrHurry(absl::Duration duration) override {
    waits.push_back(duration);
    return meanwhile(waits.size());
  }

  absl::Duration total() const {
    absl::Duration sum;
    for (absl::Duration wait : waits) sum += wait;
    return sum;
  }

  std::vector<absl::Duration> waits;
  // What happens in the nth wait, and whether somebody is in a hurry then.
  std::function<bool(size_t n)> meanwhile = [](size_t) { return false; };
};

class Drain : public ::testing::Test {
 protected:
  void Start(absl::Duration delay, absl::Duration deadline) {
    ServerConfig config;
    config.listen = {"127.0.0.1:0"};
    config.admin_listen = "127.0.0.1:0";
    config.drain_delay = delay;
    config.drain_deadline = deadline;
    auto server = Server::Start(config, service_, *logger_, device_health_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = Connect(server_->addresses()[0]);
    admin_ = Connect(server_->admin_address());
  }

  // A stream that the server knows of.
  auto OpenStream(grpc::ClientContext& context) {
    SetDeadline(context);
    auto stream = v1::QuantizationService::NewStub(channel_)->Quantize(&context);
    stream->WaitForInitialMetadata();
    EXPECT_EQ(service_.open, 1u);
    return stream;
  }

  std::ostringstream log_;
  const std::unique_ptr<Logger> logger_ = MakeStreamLogger(LogLevel::kInfo, LogFormat::kText, log_);
  FakeService service_;
  DeviceHealth device_health_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<grpc::Channel> admin_;
  FakeWaiter waiter_;
};

TEST_F(Drain, HealthIsServingFromTheStart) {
  Start(absl::ZeroDuration(), absl::Seconds(1));
  for (const auto& channel : {channel_, admin_}) {
    EXPECT_EQ(Health(channel, ""), "SERVING");
    EXPECT_EQ(Health(channel, "quantd.v1.QuantizationService"), "SERVING");
    EXPECT_EQ(Health(channel, "readiness"), "SERVING");
    EXPECT_EQ(Health(channel, "liveness"), "SERVING");
  }
}

TEST_F(Drain, HealthKnowsEachGpu) {
  device_health_.Set("GPU-1f", WorkerState::kServing);
  Start(absl::ZeroDuration(), absl::Seconds(1));
  for (const auto& channel : {channel_, admin_}) EXPECT_EQ(Health(channel, "quantd.gpu.GPU-1f"), "SERVING");
  device_health_.Set("GPU-1f", WorkerState::kQuarantined);
  for (const auto& channel : {channel_, admin_}) {
    EXPECT_EQ(Health(channel, "quantd.gpu.GPU-1f"), "NOT_SERVING");
    EXPECT_EQ(Health(channel, "readiness"), "SERVING") << "the CPU serves on";
  }
}

TEST_F(Drain, InTheDelayHealthSaysNoButEverythingIsServed) {
  Start(absl::Seconds(5), absl::Seconds(1));
  waiter_.meanwhile = [&](size_t) {
    for (const auto& channel : {channel_, admin_}) {
      EXPECT_EQ(Health(channel, ""), "NOT_SERVING");
      EXPECT_EQ(Health(channel, "quantd.v1.QuantizationService"), "NOT_SERVING");
      EXPECT_EQ(Health(channel, "readiness"), "NOT_SERVING");
      EXPECT_EQ(Health(channel, "liveness"), "SERVING");
    }
    EXPECT_FALSE(service_.draining);
    EXPECT_EQ(PrincipalOf(channel_), "anonymous");
    return false;
  };
  server_->Drain(waiter_);
  EXPECT_THAT(waiter_.waits, ElementsAre(absl::Seconds(5)));
  EXPECT_TRUE(service_.draining);
}

TEST_F(Drain, WithoutDelayAndStreamsWaitsForNothing) {
  Start(absl::ZeroDuration(), absl::Seconds(25));
  server_->Drain(waiter_);
  EXPECT_THAT(waiter_.waits, IsEmpty());
  EXPECT_TRUE(service_.draining);
}

TEST_F(Drain, LetsAnOpenStreamFinish) {
  Start(absl::ZeroDuration(), absl::Seconds(25));
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  waiter_.meanwhile = [&](size_t n) {
    EXPECT_TRUE(service_.draining);
    if (n == 3) {
      stream->WritesDone();
      EXPECT_TRUE(stream->Finish().ok());
      while (service_.open > 0) std::this_thread::yield();
    }
    return false;
  };
  server_->Drain(waiter_);
  EXPECT_EQ(waiter_.waits.size(), 3u);
}

TEST_F(Drain, CancelsAStreamAtTheDeadline) {
  Start(absl::Seconds(1), absl::Milliseconds(2010));
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  server_->Drain(waiter_);
  EXPECT_EQ(waiter_.total(), absl::Milliseconds(3010));
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_EQ(service_.open, 0u);
}

TEST_F(Drain, HandsBackASecondBeforeTheDeadline) {
  Start(absl::ZeroDuration(), absl::Seconds(25));
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  waiter_.meanwhile = [&](size_t) {
    EXPECT_EQ(service_.handed_back, waiter_.total() > absl::Seconds(24));
    if (waiter_.total() < absl::Milliseconds(24'500)) return false;
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    while (service_.open > 0) std::this_thread::yield();
    return false;
  };
  server_->Drain(waiter_);
  EXPECT_EQ(waiter_.total(), absl::Milliseconds(24'500));
}

TEST_F(Drain, InAHurryCancelsAtOnce) {
  Start(absl::Seconds(5), absl::Seconds(25));
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  waiter_.meanwhile = [](size_t) { return true; };
  server_->Drain(waiter_);
  EXPECT_THAT(waiter_.waits, ElementsAre(absl::Seconds(5)));
  EXPECT_TRUE(service_.draining);
  EXPECT_FALSE(service_.handed_back);
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(Drain, InAHurryWhileStreamsFinishCancelsAtOnce) {
  Start(absl::ZeroDuration(), absl::Seconds(25));
  grpc::ClientContext context;
  const auto stream = OpenStream(context);
  waiter_.meanwhile = [](size_t n) { return n == 2; };
  server_->Drain(waiter_);
  EXPECT_EQ(waiter_.waits.size(), 2u);
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(Drain, EndsEvenIfSomebodyWatchesHealth) {
  Start(absl::ZeroDuration(), absl::Seconds(25));
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel_);
  const auto watch = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  void* tag = nullptr;
  bool ok = false;
  watch->StartCall(nullptr);
  queue.Next(&tag, &ok);
  watch->Write(grpc::ByteBuffer(nullptr, 0), nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer answer;
  watch->Read(&answer, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  server_->Drain(waiter_);
  context.TryCancel();
  grpc::Status status;
  watch->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  EXPECT_THAT(waiter_.waits, IsEmpty());
}

TEST_F(Drain, LeavesNobodyListening) {
  Start(absl::ZeroDuration(), absl::Seconds(1));
  server_->Drain(waiter_);
  EXPECT_NE(PrincipalOf(Connect(server_->addresses()[0])), "anonymous");
  EXPECT_NE(Health(Connect(server_->admin_address()), ""), "NOT_SERVING");
}

}  // namespace
}  // namespace quantd::server
