#include "client/cpp/stream_transport.h"

#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "client/cpp/lent_memory.h"
#include "client/cpp/send_buffers.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/client_callback.h"
#include "kernels/base/crc32c.h"
#include "proto/codec/grpc_frame.h"

namespace quantd {
namespace {

// One that gRPC is writing and one that waits, so that gRPC never waits for the caller's checksums.
constexpr size_t kOutgoingFramesMax = 2;
constexpr size_t kReceivedFramesMax = 4;
// Less is copied faster than a slice of its own is made, handed on and returned.
constexpr size_t kLentBytesMin = 16 << 10;
constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

const char* PathOf(BulkMethod method) {
  switch (method) {
    case BulkMethod::kQuantize:
      return "/quantd.v1.QuantizationService/Quantize";
    case BulkMethod::kDequantize:
      return "/quantd.v1.QuantizationService/Dequantize";
    case BulkMethod::kCalibrate:
      return "/quantd.v1.QuantizationService/Calibrate";
  }
  return "";
}

// Every field of the lower part is guarded by mutex_. gRPC's reactions run on its threads; one read and one write are
// in flight at most, and the flags say which thread may start the next one.
//
// As long as the caller's thread may start operations there is a hold, without which the stream could be over in
// between. It goes as early as possible: gRPC calls OnDone on the thread that hears of the end, and not on one of its
// own that has to be woken, if it does not wait for the hold.
class GrpcStream final : public StreamTransport, private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  GrpcStream(const std::shared_ptr<grpc::Channel>& channel, BulkMethod method, absl::Time deadline) : stub_(channel) {
    if (deadline != absl::InfiniteFuture()) context_.set_deadline(absl::ToChronoTime(deadline));
    context_.set_initial_metadata_corked(true);  // it goes with the first frame, which always follows at once
    stub_.PrepareBidiStreamingCall(&context_, PathOf(method), grpc::StubOptions(), this);
    AddHold();
    {
      const std::lock_guard lock(mutex_);
      held_ = read_in_flight_ = true;
    }
    StartRead(&read_buffer_);
    StartCall();
  }

  ~GrpcStream() override {
    if (finished_) return;
    Cancel();
    Finish(absl::InfiniteDuration());
  }

  bool CanSend() override {
    const std::lock_guard lock(mutex_);
    return CanSendLocked();
  }

  void Send(OutgoingFrame frame, bool half_close) override {
    std::array<uint32_t, wire::kFramePiecesMax> crc32cs;
    const auto wanted = std::span(crc32cs).first(frame.checksums ? frame.payload.size() : 0);
    const std::vector<grpc::Slice> data = SlicesOf(frame, wanted);
    for (size_t i = 0; i < wanted.size(); ++i) frame.fields.mutable_pieces(static_cast<int>(i))->set_crc32c(wanted[i]);
    Enqueue({wire::JoinFrame(frame.fields, data), half_close});
  }

  void HalfClose() override {
    {
      const std::lock_guard lock(mutex_);
      if (write_over_) return;
    }
    Enqueue({std::nullopt, true});
  }

  std::optional<grpc::ByteBuffer> Receive() override {
    std::optional<grpc::ByteBuffer> message;
    bool read = false;
    bool release = false;
    {
      const std::lock_guard lock(mutex_);
      if (received_.empty()) return std::nullopt;
      message = std::move(received_.front());
      received_.pop_front();
      read = ShouldReadLocked();
      read_in_flight_ = read_in_flight_ || read;
      release = ShouldReleaseLocked();
    }
    if (read) StartRead(&read_buffer_);
    if (release) RemoveHold();
    return message;
  }

  bool ended() override {
    const std::lock_guard lock(mutex_);
    return EndedLocked();
  }

  void Wait(bool to_send, absl::Duration at_most) override {
    WaitUntil(
        [&] {
          waits_to_send_ = to_send;
          return !received_.empty() || EndedLocked() || (to_send && CanSendLocked());
        },
        at_most);
  }

  void Cancel() override { context_.TryCancel(); }

  StreamEnd Finish(absl::Duration patience) override {
    finished_ = true;
    bool read = false;
    bool release = false;
    {
      const std::lock_guard lock(mutex_);
      discard_ = true;
      received_.clear();
      read = ShouldReadLocked();
      read_in_flight_ = read_in_flight_ || read;
      release = std::exchange(held_, false);
    }
    if (read) StartRead(&read_buffer_);
    if (release) RemoveHold();
    if (!WaitUntil([this] { return done_; }, patience)) Cancel();
    StreamEnd end;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return done_; });
      outgoing_.clear();
      end.status = status_;
    }
    const auto& trailers = context_.GetServerTrailingMetadata();
    if (const auto found = trailers.find(kPushbackKey); found != trailers.end()) {
      end.pushback_ms = std::string(found->second.data(), found->second.size());
    }
    return end;
  }

 private:
  struct Outgoing {
    std::optional<grpc::ByteBuffer> frame;  // none: only the half-close
    bool half_close;
  };

  // The frame's payload, and the CRC32C of each of its parts unless `crc32cs` is empty.
  std::vector<grpc::Slice> SlicesOf(const OutgoingFrame& frame, std::span<uint32_t> crc32cs) const {
    std::vector<grpc::Slice> slices;
    size_t bytes = 0;
    for (const wire::ByteSpan part : frame.payload) bytes += part.size();
    if (frame.owner == nullptr || bytes < kLentBytesMin) {
      grpc::Slice copy = buffers_->Copy(frame.payload, crc32cs);
      if (copy.size() > 0) slices.push_back(std::move(copy));
      return slices;
    }
    slices.reserve(frame.payload.size());
    for (const wire::ByteSpan part : frame.payload) {
      if (!part.empty()) slices.push_back(Lend(part, frame.owner));
    }
    for (size_t i = 0; i < crc32cs.size(); ++i) crc32cs[i] = ExtendCrc32c(0, frame.payload[i]);
    return slices;
  }

  // Whether it happened in that time.
  template <typename Happened>
  bool WaitUntil(const Happened& happened, absl::Duration at_most) {
    std::unique_lock lock(mutex_);
    if (at_most != absl::InfiniteDuration()) {
      return changed_.wait_for(lock, absl::ToChronoNanoseconds(at_most), happened);
    }
    changed_.wait(lock, happened);
    return true;
  }

  void Enqueue(Outgoing outgoing) {
    bool write = false;
    bool release = false;
    {
      const std::lock_guard lock(mutex_);
      half_closed_ = half_closed_ || outgoing.half_close;
      outgoing_.push_back(std::move(outgoing));
      write = !std::exchange(write_in_flight_, true);
      release = ShouldReleaseLocked();
    }
    if (write) StartFirstWrite();
    if (release) RemoveHold();
  }

  void OnReadDone(bool ok) override {
    bool read = false;
    {
      const std::lock_guard lock(mutex_);
      read_in_flight_ = false;
      if (!ok) {
        read_over_ = true;
      } else if (!discard_) {
        received_.push_back(std::move(read_buffer_));
      }
      read_buffer_.Clear();
      read = ShouldReadLocked();
      read_in_flight_ = read;
      // The caller's thread will start the next one.
      if (!read && !read_over_ && !std::exchange(held_, true)) AddHold();
      changed_.notify_all();
    }
    if (read) StartRead(&read_buffer_);
  }

  void OnWriteDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      outgoing_.pop_front();
      if (!ok) {
        write_over_ = true;
        outgoing_.clear();
      }
      write_in_flight_ = !outgoing_.empty();
      if (!ok || waits_to_send_) changed_.notify_all();
      if (!write_in_flight_) return;
    }
    StartFirstWrite();
  }

  void OnWritesDoneDone(bool ok) override { OnWriteDone(ok); }

  void OnDone(const grpc::Status& status) override {
    const std::lock_guard lock(mutex_);
    status_ = status;
    done_ = true;
    changed_.notify_all();
  }

  // Only by the thread that set write_in_flight_: nobody else takes the first frame away.
  void StartFirstWrite() {
    Outgoing* first = nullptr;
    {
      const std::lock_guard lock(mutex_);
      first = &outgoing_.front();
    }
    if (!first->frame.has_value()) {
      StartWritesDone();
    } else if (first->half_close) {
      StartWriteLast(&*first->frame, grpc::WriteOptions());
    } else {
      StartWrite(&*first->frame);
    }
  }

  bool CanSendLocked() const {
    return !write_over_ && !read_over_ && !discard_ && outgoing_.size() < kOutgoingFramesMax;
  }
  bool EndedLocked() const { return read_over_ && received_.empty(); }
  // True once: nothing is left for the caller's thread to start.
  bool ShouldReleaseLocked() { return half_closed_ && read_in_flight_ && std::exchange(held_, false); }
  bool ShouldReadLocked() const {
    return !read_in_flight_ && !read_over_ && (discard_ || received_.size() < kReceivedFramesMax);
  }

  grpc::ClientContext context_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  grpc::ByteBuffer read_buffer_;  // gRPC's while read_in_flight_
  const std::shared_ptr<SendBuffers> buffers_ = SendBuffers::Create();
  bool finished_ = false;  // only the caller's thread looks at it

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Outgoing> outgoing_;  // the first is gRPC's while write_in_flight_
  std::deque<grpc::ByteBuffer> received_;
  bool held_ = false;
  bool half_closed_ = false;  // as far as the caller is concerned
  bool waits_to_send_ = false;
  bool read_in_flight_ = false;
  bool write_in_flight_ = false;
  bool read_over_ = false;
  bool write_over_ = false;
  bool discard_ = false;
  bool done_ = false;
  grpc::Status status_;
};

}  // namespace

std::unique_ptr<StreamTransport> OpenStream(const std::shared_ptr<grpc::Channel>& channel, BulkMethod method,
                                            absl::Time deadline) {
  return std::make_unique<GrpcStream>(channel, method, deadline);
}

}  // namespace quantd
