// Memory that has an owner, from the caller's options to the slices that gRPC sends.
#include "client/cpp/lent_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "client/cpp/stream_transport.h"
#include "client/cpp/tensor_call.h"
#include "client/cpp/tensor_task.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/base/crc32c.h"
#include "proto/codec/grpc_frame.h"

namespace quantd {
namespace {

constexpr size_t kLargeBytes = 1'000'000;

// Bytes that go with the last one who holds them, and say so.
class OwnedBytes {
 public:
  explicit OwnedBytes(size_t size) {
    auto* const bytes = new std::vector<std::byte>(size, std::byte(7));
    span_ = *bytes;
    owner_ = std::shared_ptr<const void>(bytes, [bytes, gone = gone_](const void*) {
      delete bytes;
      const std::lock_guard lock(gone->mutex);
      gone->is_gone = true;
      gone->changed.notify_all();
    });
  }

  std::span<const std::byte> span() const { return span_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }
  std::shared_ptr<const void> GiveAway() { return std::move(owner_); }
  bool IsGoneSoon() const {
    std::unique_lock lock(gone_->mutex);
    return gone_->changed.wait_for(lock, std::chrono::seconds(60), [this] { return gone_->is_gone; });
  }
  bool Holds(const grpc::Slice& slice) const {
    const auto* const begin = reinterpret_cast<const std::byte*>(slice.begin());
    return begin >= span_.data() && begin < span_.data() + span_.size();
  }

 private:
  struct Gone {
    std::mutex mutex;
    std::condition_variable changed;
    bool is_gone = false;
  };
  const std::shared_ptr<Gone> gone_ = std::make_shared<Gone>();
  std::span<const std::byte> span_;
  std::shared_ptr<const void> owner_;
};

TEST(Lend, TheSliceLiesWhereTheBytesLieAndHoldsTheirOwner) {
  OwnedBytes bytes(100);
  {
    const grpc::Slice slice = Lend(bytes.span().subspan(10, 50), bytes.GiveAway());
    EXPECT_EQ(static_cast<const void*>(slice.begin()), bytes.span().data() + 10);
    EXPECT_EQ(slice.size(), 50u);
    const grpc::Slice other = slice;
    EXPECT_EQ(other.begin(), slice.begin());
  }
  EXPECT_TRUE(bytes.IsGoneSoon());
}

TEST(LentFrames, HaveTheOwnerOfTheTensorButNotWithArraysOfTheOptions) {
  const OwnedBytes bytes(4000);
  const std::vector<float> factors(100, 1.0F);
  const TensorView tensor{"w", DataType::kFloat32, {10, 100}, bytes.span()};
  CallOptions options{.memory_owner = bytes.owner()};
  const auto plain = QuantizeTask(tensor, {.preset = "int8"}, options);
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(TensorCall(*plain).NextFrame()->owner, bytes.owner());

  options.smoothing_factors = factors;
  options.frame_data_bytes = 300;
  const auto smoothed = QuantizeTask(tensor, {.preset = "int8"}, options);
  ASSERT_TRUE(smoothed.ok());
  TensorCall call(*smoothed);
  EXPECT_EQ(call.NextFrame()->owner, nullptr) << "300 of 400 bytes of factors";
  EXPECT_EQ(call.NextFrame()->owner, nullptr) << "the rest of them, and values";
  EXPECT_EQ(call.NextFrame()->owner, bytes.owner());
}

TEST(LentFrames, HaveTheOwnerOfAQuantizedTensor) {
  const OwnedBytes bytes(132);
  const QuantizedTensorView view{"w",
                                 {256},
                                 {.preset = "bnb-nf4"},
                                 {{"codes", DataType::kUint8, {}, bytes.span().first(128)},
                                  {"scales", DataType::kFloat32, {}, bytes.span().last(4)}}};
  const auto task = DequantizeTask(view, DataType::kFloat32, {.memory_owner = bytes.owner()});
  ASSERT_TRUE(task.ok());
  EXPECT_EQ(TensorCall(*task).NextFrame()->owner, bytes.owner());
}

// Reads one frame of each stream, and no more until it may go on.
class OneFrameService final : public grpc::CallbackGenericService {
 public:
  void GoOn() {
    const std::lock_guard lock(mutex_);
    may_go_on_ = true;
    for (grpc::ServerGenericBidiReactor* reactor : waiting_) reactor->Finish(grpc::Status::OK);
    waiting_.clear();
  }
  grpc::ByteBuffer WaitForFrame() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return came_; });
    return frame_;
  }
  void ForgetFrame() {
    const std::lock_guard lock(mutex_);
    frame_.Clear();
  }

 private:
  class Reactor final : public grpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(OneFrameService& service) : service_(service) { StartRead(&frame_); }

   private:
    void OnReadDone(bool) override { service_.Take(*this, std::move(frame_)); }
    void OnDone() override { delete this; }

    OneFrameService& service_;
    grpc::ByteBuffer frame_;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new Reactor(*this);
  }
  void Take(Reactor& reactor, grpc::ByteBuffer frame) {
    const std::lock_guard lock(mutex_);
    frame_ = std::move(frame);
    came_ = true;
    changed_.notify_all();
    if (may_go_on_) return reactor.Finish(grpc::Status::OK);
    waiting_.push_back(&reactor);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<grpc::ServerGenericBidiReactor*> waiting_;
  grpc::ByteBuffer frame_;
  bool came_ = false;
  bool may_go_on_ = false;
};

class LentMemory : public ::testing::Test {
 protected:
  LentMemory() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
  }
  ~LentMemory() override {
    service_.GoOn();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  std::unique_ptr<StreamTransport> OpenOverTcp() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return OpenStream(
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_), grpc::InsecureChannelCredentials(), arguments),
        BulkMethod::kQuantize, absl::InfiniteFuture());
  }
  // Where slices stay what they are.
  std::unique_ptr<StreamTransport> OpenInProcess() {
    return OpenStream(server_->InProcessChannel({}), BulkMethod::kQuantize, absl::InfiniteFuture());
  }
  static OutgoingFrame Frame(std::span<const std::byte> payload, std::shared_ptr<const void> owner) {
    OutgoingFrame frame{.payload = {payload}, .checksums = true, .owner = std::move(owner)};
    frame.fields.add_pieces()->set_length(static_cast<uint32_t>(payload.size()));
    return frame;
  }
  std::vector<grpc::Slice> ReceivedSlices() {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(service_.WaitForFrame().Dump(&slices).ok());
    service_.ForgetFrame();
    return slices;
  }

  int port_ = 0;
  OneFrameService service_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(LentMemory, ALargePayloadIsSentFromWhereItLies) {
  OwnedBytes bytes(kLargeBytes);
  const auto stream = OpenInProcess();
  stream->Send(Frame(bytes.span(), bytes.GiveAway()), true);
  const std::vector<grpc::Slice> slices = ReceivedSlices();
  EXPECT_TRUE(std::any_of(slices.begin(), slices.end(), [&](const grpc::Slice& one) { return bytes.Holds(one); }));
}

TEST_F(LentMemory, WithoutAnOwnerItIsCopied) {
  const OwnedBytes bytes(kLargeBytes);
  const auto stream = OpenInProcess();
  stream->Send(Frame(bytes.span(), nullptr), true);
  for (const grpc::Slice& slice : ReceivedSlices()) EXPECT_FALSE(bytes.Holds(slice));
}

TEST_F(LentMemory, ASmallPayloadIsCopied) {
  const OwnedBytes bytes(4096);
  const auto stream = OpenInProcess();
  stream->Send(Frame(bytes.span(), bytes.owner()), true);
  for (const grpc::Slice& slice : ReceivedSlices()) EXPECT_FALSE(bytes.Holds(slice));
  EXPECT_EQ(bytes.owner().use_count(), 1);
}

TEST_F(LentMemory, ArrivesWithItsChecksumAndIsLetGoOf) {
  OwnedBytes bytes(kLargeBytes);
  const uint32_t crc32c = ExtendCrc32c(0, bytes.span());
  service_.GoOn();
  const auto stream = OpenOverTcp();
  stream->Send(Frame(bytes.span(), bytes.GiveAway()), true);
  EXPECT_TRUE(stream->Finish(absl::InfiniteDuration()).status.ok());
  const auto frame = wire::ReceivedFrame::Parse(service_.WaitForFrame());
  ASSERT_TRUE(frame.ok());
  RequestFields fields;
  ASSERT_TRUE(fields.ParseFromString(frame->fields()));
  ASSERT_EQ(fields.pieces_size(), 1);
  EXPECT_EQ(fields.pieces(0).crc32c(), crc32c);
  EXPECT_EQ(frame->data_bytes(), kLargeBytes);
  EXPECT_TRUE(bytes.IsGoneSoon());
}

// What ADR 0005 was about: the call must not wait for what lies in the connection's queue.
TEST_F(LentMemory, ACancelledStreamEndsWhileTheTransportMayStillHoldIt) {
  OwnedBytes bytes(kLargeBytes);
  {
    const auto stream = OpenOverTcp();
    stream->Send(Frame(bytes.span(), bytes.owner()), false);
    service_.WaitForFrame();
    for (int sent = 1; sent < 64 && stream->CanSend(); ++sent) {  // until the peer's windows are full
      stream->Send(Frame(bytes.span(), bytes.owner()), false);
      stream->Wait(true, absl::Milliseconds(200));
    }
    EXPECT_FALSE(stream->CanSend());
    bytes.GiveAway();  // the caller needs it no more
    stream->Cancel();
    EXPECT_EQ(stream->Finish(absl::InfiniteDuration()).status.error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(bytes.IsGoneSoon()) << "with the connection at the latest";
}

}  // namespace
}  // namespace quantd
