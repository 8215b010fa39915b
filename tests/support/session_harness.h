// A stream session between a scripted client and a server whose threads, clock, disk and transport the test moves.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend/backend.h"
#include "server/session/limits.h"
#include "server/session/slot_arena.h"
#include "server/session/spool.h"
#include "server/session/stream_session.h"
#include "server/session/upload_store.h"
#include "tests/support/fake_clock.h"
#include "tests/support/manual_executor.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {

// ---- What the client sends ----

// A run of one segment's bytes.
struct InputPart {
  std::string segment;
  uint64_t offset = 0;
  Bytes bytes;
};

// A tensor as its client means to send it: parts in sending order.
struct TensorInput {
  server::TensorRequest request;
  std::vector<InputPart> parts;
};

// "values" of the request's range.
TensorInput QuantizeInput(const server::TensorRequest& request, const Bytes& values);
// Whole-tensor segments first, then batch by batch. `segments` are the whole tensor's; the range is the request's.
TensorInput DequantizeInput(const server::TensorRequest& request, const SegmentBytes& segments,
                            uint64_t batch_elements);

// A frame whose data is copied into memory of its own, with a CRC32C on each piece.
server::RequestFrame MakeFrame(uint64_t tensor_seq, const std::vector<InputPart>& parts, bool last);
server::RequestFrame HeaderFrame(uint64_t tensor_seq, const server::TensorRequest& request,
                                 const std::vector<InputPart>& parts = {}, bool last = false);

// The tensor in frames of `frame_data_bytes`.
std::vector<server::RequestFrame> Frames(uint64_t tensor_seq, const TensorInput& input, uint64_t frame_data_bytes);
// The tensor in frames, pieces and parts of random sizes, empty ones among them.
std::vector<server::RequestFrame> RandomFrames(std::mt19937_64& random, uint64_t tensor_seq, const TensorInput& input,
                                               uint64_t frame_data_bytes_max);

// ---- What the client gets ----

struct SentPiece {
  std::string segment;
  uint64_t offset = 0;
  Bytes bytes;
  std::optional<uint32_t> crc32c;
};

struct SentFrame {
  uint64_t tensor_seq = 0;
  std::optional<server::AcceptInfo> accept;
  uint64_t window_bytes = 0;
  std::vector<SentPiece> pieces;
  uint64_t data_bytes = 0;
  uint64_t consumed_bytes = 0;
  absl::Status error;
  std::optional<server::SummaryInfo> summary;
};

// All frames of one tensor put together; everything that must hold for every tensor has been checked.
struct TensorOutput {
  std::optional<server::AcceptInfo> accept;
  SegmentBytes segments;                          // the job's part of each
  std::map<std::string, uint64_t> begin_offsets;  // where that part begins
  std::vector<std::string> segment_order;         // of first appearance
  uint64_t consumed_bytes = 0;
  absl::Status error;
  std::optional<server::SummaryInfo> summary;
};
TensorOutput Collect(const std::vector<SentFrame>& frames, uint64_t tensor_seq);

// A transport that keeps to StreamIo's contract, checks that the session does too, and does nothing by itself.
class FakeIo final : public server::StreamIo {
 public:
  explicit FakeIo(const server::Limits& limits) : limits_(limits) {}

  void Read() override;
  void Write(server::ResponseFrame frame) override;
  void Finish(absl::Status status) override;
  void Abort() override;

  // As a transport that keeps the slices it has sent.
  bool keeps_slices = false;
  std::vector<std::shared_ptr<const void>> kept_slices;

  bool read_pending = false;
  bool write_pending = false;
  bool aborted = false;
  uint32_t reads = 0;
  std::vector<SentFrame> frames;
  std::optional<absl::Status> finished;

 private:
  const server::Limits& limits_;
};

// ---- The server ----

struct SessionServerOptions {
  Direction direction = Direction::kQuantize;
  server::Limits limits;
  Backend* backend = nullptr;  // default: the CPU's
  server::DevicePool* devices = nullptr;
  std::function<absl::StatusOr<std::unique_ptr<server::StreamJob>>(const server::TensorRequest&)> start_job;
  server::SpoolFileOps spool_ops = server::SpoolFileOps::Real();
  uint64_t spool_memory_bytes_max = 1 << 20;
};

// What all sessions of one server share.
class SessionServer {
 public:
  explicit SessionServer(SessionServerOptions options = {});
  ~SessionServer();

  server::SessionEnvironment Environment(const server::Principal& principal = {});

  const SessionServerOptions options;
  std::unique_ptr<Backend> cpu_backend;
  FakeClock clock;
  ManualExecutor executor;
  std::shared_ptr<server::SlotArena> arena;
  server::PlanCache plans;
  server::SpoolBudget spool_budget;
  server::UploadStore uploads;  // of instance "here", epoch 7
  server::CreditBudget credit_budget;
  server::LoadBudget load_budget;

  uint32_t slots_in_use() const { return options.limits.slots_max - arena->free_slots(); }
};

// A stream and its client.
class TestStream {
 public:
  explicit TestStream(SessionServer& server, const server::Principal& principal = {},
                      absl::Time deadline = absl::InfiniteFuture());
  ~TestStream();

  // To be sent as the session reads.
  void Send(server::RequestFrame frame) { to_send_.push_back(std::move(frame)); }
  void Send(std::vector<server::RequestFrame> frames);
  void HalfClose() { half_close_ = true; }

  // One thing each; false if there is nothing of its kind to do.
  bool Deliver();      // the next frame, or the half-close
  bool TakeWritten();  // the transport takes what has been written
  // Whatever is possible, the server's work included, until nothing is.
  void RunAll();

  TensorOutput Output(uint64_t tensor_seq) const { return Collect(io.frames, tensor_seq); }

  SessionServer& server;
  FakeIo io;
  std::shared_ptr<server::StreamSession> session;

 private:
  std::deque<server::RequestFrame> to_send_;
  bool half_close_ = false;
};

// ---- Values ----

// Small limits that make every tensor of a megabyte go through several slots.
server::Limits SmallLimits();

// A request with a scheme given as preset and overrides.
server::TensorRequest Request(DataType dtype, const std::vector<uint64_t>& shape, const std::string& preset = "bnb-nf4",
                              const std::map<std::string, std::string>& overrides = {});

// Random values of the request's type and shape, as bytes.
Bytes RandomValues(std::mt19937_64& random, const server::TensorRequest& request);

// What Backend::Run makes of the whole tensor at once.
SegmentBytes Expected(Direction direction, const server::TensorRequest& request, const SegmentBytes& inputs);

}  // namespace quantd::testing
