#include "client/cpp/stream_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <vector>

#include "absl/synchronization/notification.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/base/crc32c.h"
#include "proto/codec/grpc_frame.h"

namespace quantd {
namespace {

// What the server does with each stream: reads one frame, answers with so many, and ends the stream.
struct Script {
  uint32_t answers = 0;
  grpc::Status status;
  grpc::ByteBuffer request;     // that came
  absl::Notification all_sent;  // the transport has taken the last answer
};

class ScriptedReactor final : public grpc::ServerGenericBidiReactor {
 public:
  explicit ScriptedReactor(Script& script) : script_(script), left_(script.answers) { StartRead(&script_.request); }

 private:
  void OnReadDone(bool ok) override { ok ? Answer() : Finish(script_.status); }
  void OnWriteDone(bool ok) override { ok ? Answer() : Finish(script_.status); }
  void OnDone() override { delete this; }
  void Answer() {
    if (left_ == 0) {
      script_.all_sent.Notify();
      return Finish(script_.status);
    }
    ResponseFields fields;
    fields.set_tensor_seq(script_.answers - left_--);
    answer_ = wire::JoinFrame(fields, {});
    StartWrite(&answer_);
  }

  Script& script_;
  uint32_t left_;
  grpc::ByteBuffer answer_;
};

class ScriptedService final : public grpc::CallbackGenericService {
 public:
  explicit ScriptedService(Script& script) : script_(script) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new ScriptedReactor(script_);
  }

 private:
  Script& script_;
};

class StreamTransportTest : public ::testing::Test {
 protected:
  StreamTransportTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  }
  ~StreamTransportTest() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::unique_ptr<StreamTransport> Open() const {
    return OpenStream(channel_, BulkMethod::kQuantize, absl::InfiniteFuture());
  }
  // The numbers of the messages, in the order in which they came, until the stream has ended.
  static std::vector<uint64_t> ReceiveAll(StreamTransport& stream) {
    std::vector<uint64_t> numbers;
    while (true) {
      if (const auto message = stream.Receive()) {
        const auto frame = wire::ReceivedFrame::Parse(*message);
        ResponseFields fields;
        EXPECT_TRUE(frame.ok() && fields.ParseFromString(frame->fields()));
        numbers.push_back(fields.tensor_seq());
      } else if (stream.ended()) {
        return numbers;
      } else {
        stream.Wait(false, absl::InfiniteDuration());
      }
    }
  }
  static std::vector<uint64_t> NumbersBelow(uint64_t end) {
    std::vector<uint64_t> numbers(end);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
  }

  Script script_;
  ScriptedService service_{script_};
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(StreamTransportTest, GivesOutAllMessagesAndThenTheEnd) {
  script_.answers = 3;
  script_.status = {grpc::StatusCode::ABORTED, "so it ends"};
  const auto stream = Open();
  stream->Send({}, true);
  EXPECT_EQ(ReceiveAll(*stream), NumbersBelow(3));
  EXPECT_EQ(stream->Finish(absl::InfiniteDuration()).status.error_message(), "so it ends");
}

// More than it keeps, so that reading pauses after the half-close, and the caller's thread has to go on with it.
TEST_F(StreamTransportTest, LosesNothingToACallerWhoIsLate) {
  script_.answers = 20;
  const auto stream = Open();
  stream->Send({}, true);
  script_.all_sent.WaitForNotification();
  EXPECT_EQ(ReceiveAll(*stream), NumbersBelow(20));
  EXPECT_TRUE(stream->Finish(absl::InfiniteDuration()).status.ok());
}

TEST_F(StreamTransportTest, LosesNothingToACallerWhoHalfClosesLate) {
  script_.answers = 20;
  const auto stream = Open();
  stream->Send({}, false);
  script_.all_sent.WaitForNotification();
  stream->HalfClose();
  EXPECT_EQ(ReceiveAll(*stream), NumbersBelow(20));
  EXPECT_TRUE(stream->Finish(absl::InfiniteDuration()).status.ok());
}

TEST_F(StreamTransportTest, EndsForACallerWhoDoesNotReceive) {
  script_.answers = 20;
  const auto stream = Open();
  stream->Send({}, true);
  EXPECT_TRUE(stream->Finish(absl::InfiniteDuration()).status.ok());
}

TEST_F(StreamTransportTest, EndsWithoutAFrameWhenItIsCancelled) {
  const auto stream = Open();
  stream->Cancel();
  EXPECT_EQ(stream->Finish(absl::InfiniteDuration()).status.error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(StreamTransportTest, EndsWithItsObject) { Open(); }

TEST_F(StreamTransportTest, ChecksumsAreThoseOfTheirPieces) {
  const std::vector<std::byte> bytes(100'000, std::byte(7));
  OutgoingFrame frame{.payload = {std::span(bytes).first(10'000), std::span(bytes).first(0), bytes}, .checksums = true};
  for (const auto part : frame.payload) frame.fields.add_pieces()->set_length(static_cast<uint32_t>(part.size()));
  const auto parts = frame.payload;
  const auto stream = Open();
  stream->Send(std::move(frame), true);
  ReceiveAll(*stream);
  EXPECT_TRUE(stream->Finish(absl::InfiniteDuration()).status.ok());
  const auto received = wire::ReceivedFrame::Parse(script_.request);
  ASSERT_TRUE(received.ok());
  RequestFields fields;
  ASSERT_TRUE(fields.ParseFromString(received->fields()));
  EXPECT_EQ(received->data_bytes(), 110'000u);
  ASSERT_EQ(fields.pieces_size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(fields.pieces(i).crc32c(), ExtendCrc32c(0, parts[i])) << i;
}

}  // namespace
}  // namespace quantd
