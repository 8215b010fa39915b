#include "tests/support/session_harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "kernels/base/checked_math.h"
#include "kernels/base/crc32c.h"
#include "kernels/cpu/cpu_backend.h"

namespace quantd::testing {

using server::RequestFrame;
using server::ResponseFrame;
using server::TensorRequest;

// ---- What the client sends ----

namespace {

Plan PlanOf(Direction direction, const TensorRequest& request) {
  return PlanOrDie(request.scheme, direction, request.dtype, request.shape, request.known,
                   {request.smoothing.has_value(), request.importance.has_value()});
}

UnitRange UnitsOf(const Plan& plan, const TensorRequest& request) {
  const auto range = request.range.value_or(TensorRequest::Range{0, plan.element_count});
  return {CeilDiv(range.begin, plan.unit_elements), CeilDiv(range.end, plan.unit_elements)};
}

InputPart CutPart(const std::string& segment, const Bytes& bytes, uint64_t begin, uint64_t end) {
  return {segment, begin,
          Bytes(bytes.begin() + static_cast<ptrdiff_t>(begin), bytes.begin() + static_cast<ptrdiff_t>(end))};
}

// Takes up to `bytes` from the front of the parts.
std::vector<InputPart> TakeFront(std::deque<InputPart>& parts, uint64_t bytes) {
  std::vector<InputPart> taken;
  while (!parts.empty() && (bytes > 0 || parts.front().bytes.empty())) {
    InputPart& front = parts.front();
    const uint64_t count = std::min<uint64_t>(bytes, front.bytes.size());
    taken.push_back(CutPart(front.segment, front.bytes, 0, count));
    taken.back().offset = front.offset;
    front = CutPart(front.segment, front.bytes, count, front.bytes.size());
    front.offset = taken.back().offset + count;
    bytes -= count;
    if (front.bytes.empty()) parts.pop_front();
  }
  return taken;
}

// The same bytes in spans of random sizes, as a transport's slices.
void SplitData(std::mt19937_64& random, RequestFrame& frame) {
  std::vector<std::span<const std::byte>> split;
  for (std::span<const std::byte> rest : frame.data) {
    while (!rest.empty()) {
      const size_t count = std::min<size_t>(random() % (rest.size() + 1), rest.size());
      split.push_back(rest.first(count));
      rest = rest.subspan(count);
    }
  }
  frame.data = std::move(split);
}

}  // namespace

TensorInput QuantizeInput(const TensorRequest& request, const Bytes& values) {
  const Plan plan = PlanOf(Direction::kQuantize, request);
  const UnitRange units = UnitsOf(plan, request);
  const auto [begin, end] = plan.BytesOf(plan.passes[0].inputs.back(), units.begin, units.end);
  return {request, {CutPart("values", values, begin, end)}};
}

TensorInput DequantizeInput(const TensorRequest& request, const SegmentBytes& segments, uint64_t batch_elements) {
  const Plan plan = PlanOf(Direction::kDequantize, request);
  const UnitRange units = UnitsOf(plan, request);
  TensorInput input{request, {}};
  for (const SegmentLayout& segment : plan.passes[0].inputs) {
    if (segment.whole_tensor()) input.parts.push_back({segment.name, 0, segments.at(segment.name)});
  }
  const uint64_t batch_units = batch_elements / plan.unit_elements;
  for (uint64_t unit = units.begin; unit < units.end; unit += batch_units) {
    for (const SegmentLayout& segment : plan.passes[0].inputs) {
      if (segment.whole_tensor()) continue;
      const auto [begin, end] = plan.BytesOf(segment, unit, std::min(unit + batch_units, units.end));
      input.parts.push_back(CutPart(segment.name, segments.at(segment.name), begin, end));
    }
  }
  return input;
}

RequestFrame MakeFrame(uint64_t tensor_seq, const std::vector<InputPart>& parts, bool last) {
  RequestFrame frame;
  frame.tensor_seq = tensor_seq;
  frame.last = last;
  auto data = std::make_shared<Bytes>();
  for (const InputPart& part : parts) {
    frame.pieces.push_back(
        {part.segment, part.offset, static_cast<uint32_t>(part.bytes.size()), ExtendCrc32c(0, part.bytes)});
    data->insert(data->end(), part.bytes.begin(), part.bytes.end());
  }
  frame.data_bytes = data->size();
  frame.data = {std::span<const std::byte>(*data)};
  frame.owner = std::move(data);
  return frame;
}

RequestFrame HeaderFrame(uint64_t tensor_seq, const TensorRequest& request, const std::vector<InputPart>& parts,
                         bool last) {
  RequestFrame frame = MakeFrame(tensor_seq, parts, last);
  frame.header = request;
  return frame;
}

std::vector<RequestFrame> Frames(uint64_t tensor_seq, const TensorInput& input, uint64_t frame_data_bytes) {
  std::deque<InputPart> parts(input.parts.begin(), input.parts.end());
  std::vector<RequestFrame> frames;
  do {
    const auto taken = TakeFront(parts, frame_data_bytes);
    frames.push_back(MakeFrame(tensor_seq, taken, parts.empty()));
  } while (!parts.empty());
  frames.front().header = input.request;
  return frames;
}

std::vector<RequestFrame> RandomFrames(std::mt19937_64& random, uint64_t tensor_seq, const TensorInput& input,
                                       uint64_t frame_data_bytes_max) {
  std::deque<InputPart> parts(input.parts.begin(), input.parts.end());
  std::vector<RequestFrame> frames;
  do {
    std::vector<InputPart> pieces;
    const uint64_t piece_count = random() % 6;
    for (uint64_t i = 0; i < piece_count && !parts.empty(); ++i) {
      if (random() % 8 == 0) pieces.push_back({parts.front().segment, parts.front().offset, {}});
      const auto taken = TakeFront(parts, random() % (frame_data_bytes_max / 6));
      pieces.insert(pieces.end(), taken.begin(), taken.end());
    }
    const bool last = parts.empty() && random() % 2 == 0;
    frames.push_back(MakeFrame(tensor_seq, pieces, last));
    SplitData(random, frames.back());
  } while (!frames.back().last);
  frames.front().header = input.request;
  return frames;
}

// ---- What the client gets ----

TensorOutput Collect(const std::vector<SentFrame>& frames, uint64_t tensor_seq) {
  TensorOutput output;
  bool over = false;
  bool first = true;
  for (const SentFrame& frame : frames) {
    if (frame.tensor_seq != tensor_seq) continue;
    EXPECT_FALSE(over) << "a frame after the tensor's last one";
    EXPECT_TRUE(first || !frame.accept.has_value()) << "the accept is not first";
    EXPECT_TRUE(!first || frame.accept.has_value() || !frame.error.ok()) << "neither accept nor error is first";
    first = false;
    EXPECT_GE(frame.consumed_bytes, output.consumed_bytes) << "consumed_bytes fell";
    output.consumed_bytes = frame.consumed_bytes;
    if (frame.accept.has_value()) output.accept = frame.accept;
    for (const SentPiece& piece : frame.pieces) {
      if (!output.segments.contains(piece.segment)) {
        output.segment_order.push_back(piece.segment);
        output.begin_offsets[piece.segment] = piece.offset;
      }
      Bytes& segment = output.segments[piece.segment];
      EXPECT_EQ(piece.offset, output.begin_offsets[piece.segment] + segment.size()) << piece.segment << " has a gap";
      if (piece.crc32c.has_value()) {
        EXPECT_EQ(*piece.crc32c, ExtendCrc32c(0, piece.bytes)) << piece.segment;
      }
      segment.insert(segment.end(), piece.bytes.begin(), piece.bytes.end());
    }
    output.error = frame.error;
    output.summary = frame.summary;
    over = !frame.error.ok() || frame.summary.has_value();
  }
  if (!output.summary.has_value()) return output;
  for (const server::JobSegment& segment : output.accept->outputs) {
    const Bytes& bytes = output.segments[segment.layout.name];
    EXPECT_EQ(bytes.size(), segment.end_bytes - segment.begin_bytes) << segment.layout.name;
    if (!bytes.empty()) {
      EXPECT_EQ(output.begin_offsets[segment.layout.name], segment.begin_bytes);
    }
  }
  EXPECT_EQ(output.summary->outputs.size(), output.accept->outputs.size());
  for (const auto& digest : output.summary->outputs) {
    EXPECT_EQ(digest.bytes, output.segments[digest.segment].size()) << digest.segment;
    if (digest.crc32c.has_value()) {
      EXPECT_EQ(*digest.crc32c, ExtendCrc32c(0, output.segments[digest.segment])) << digest.segment;
    }
  }
  return output;
}

void FakeIo::Read() {
  EXPECT_FALSE(read_pending) << "two reads at once";
  EXPECT_FALSE(finished.has_value()) << "a read after the end";
  read_pending = true;
  ++reads;
}

void FakeIo::Write(ResponseFrame frame) {
  EXPECT_FALSE(write_pending) << "two writes at once";
  EXPECT_FALSE(finished.has_value()) << "a write after the end";
  write_pending = true;
  SentFrame sent{frame.tensor_seq,     {},          frame.window_bytes, {}, frame.data_bytes,
                 frame.consumed_bytes, frame.error, frame.summary};
  if (frame.accept != nullptr) sent.accept = frame.accept->info;
  uint64_t piece_bytes = 0;
  for (const server::OutputPiece& piece : frame.pieces) {
    sent.pieces.push_back({piece.segment, piece.offset, Bytes(piece.bytes.begin(), piece.bytes.end()), piece.crc32c});
    piece_bytes += piece.bytes.size();
    if (keeps_slices) kept_slices.push_back(piece.owner);
  }
  EXPECT_EQ(frame.data_bytes, piece_bytes);
  EXPECT_LE(frame.data_bytes, limits_.response_data_bytes);
  EXPECT_LE(frame.pieces.size(), 64u);
  frames.push_back(std::move(sent));
}

void FakeIo::Finish(absl::Status status) {
  EXPECT_FALSE(finished.has_value()) << "finished twice";
  finished = std::move(status);
}

void FakeIo::Abort() {
  EXPECT_FALSE(finished.has_value()) << "an abort after the end";
  aborted = true;
}

// ---- The server ----

SessionServer::SessionServer(SessionServerOptions given)
    : options(std::move(given)),
      cpu_backend(MakeCpuBackend()),
      plans(options.limits),
      spool_budget({.directory = ::testing::TempDir(),
                    .bytes_max = options.limits.spool_bytes_max,
                    .bytes_per_stream_max = options.limits.spool_bytes_per_stream_max,
                    .memory_bytes_max = options.spool_memory_bytes_max},
                   options.spool_ops),
      uploads(options.limits, clock, "here", 7),
      credit_budget(options.limits.windows_bytes_max),
      load_budget(options.limits, 1) {
  if (const absl::Status valid = server::Validate(options.limits); !valid.ok()) {
    throw std::runtime_error(valid.ToString());
  }
  auto created = server::SlotArena::Create(
      options.limits.slot_bytes, options.limits.slots_max,
      [this](std::function<void()> work) { executor.Submit(std::move(work)); },
      server::SlotsPerPrincipalMax(options.limits));
  if (!created.ok()) throw std::runtime_error(created.status().ToString());
  arena = *std::move(created);
}

SessionServer::~SessionServer() {
  executor.RunAll();
  while (uploads.DropOne()) {
  }
  EXPECT_EQ(slots_in_use(), 0u) << "a slot did not come back";
  EXPECT_EQ(spool_budget.bytes_reserved(), 0u) << "spool bytes did not come back";
  EXPECT_EQ(load_budget.bytes(), 0u) << "load did not come back";
}

server::SessionEnvironment SessionServer::Environment(const server::Principal& principal) {
  return {.direction = options.direction,
          .limits = options.limits,
          .backend = options.backend == nullptr ? *cpu_backend : *options.backend,
          .arena = *arena,
          .plans = plans,
          .spool_budget = spool_budget,
          .credit_budget = credit_budget,
          .load_budget = load_budget,
          .clock = clock,
          .submit = [this](const server::Turn&, std::function<void()> work) { executor.Submit(std::move(work)); },
          .devices = options.devices,
          .start_job = options.start_job,
          .principal = principal,
          .uploads = &uploads};
}

TestStream::TestStream(SessionServer& owner, const server::Principal& principal, absl::Time deadline)
    : server(owner), io(owner.options.limits) {
  server::SessionEnvironment environment = owner.Environment(principal);
  environment.deadline = deadline;
  session = std::make_shared<server::StreamSession>(std::move(environment), io);
  session->Start();
}

TestStream::~TestStream() { session->Detach(); }

void TestStream::Send(std::vector<RequestFrame> frames) {
  for (RequestFrame& frame : frames) Send(std::move(frame));
}

bool TestStream::Deliver() {
  if (!io.read_pending) return false;
  if (!to_send_.empty()) {
    io.read_pending = false;
    RequestFrame frame = std::move(to_send_.front());
    to_send_.pop_front();
    session->OnFrame(std::move(frame));
    return true;
  }
  if (!half_close_) return false;
  half_close_ = false;
  io.read_pending = false;
  session->OnHalfClose();
  return true;
}

bool TestStream::TakeWritten() {
  if (!io.write_pending) return false;
  io.write_pending = false;
  session->OnWritten();
  return true;
}

void TestStream::RunAll() {
  while (Deliver() || server.executor.RunOldest() || TakeWritten()) {
  }
}

// ---- Values ----

server::Limits SmallLimits() {
  return {.slot_bytes = 1 << 20, .slots_max = 4, .slots_per_stream_max = 3, .window_bytes = 2 << 20};
}

TensorRequest Request(DataType dtype, const std::vector<uint64_t>& shape, const std::string& preset,
                      const std::map<std::string, std::string>& overrides) {
  TensorRequest request;
  request.name = "weight";
  request.dtype = dtype;
  request.shape = shape;
  request.scheme = {preset, overrides, 0};
  return request;
}

Bytes RandomValues(std::mt19937_64& random, const TensorRequest& request) {
  uint64_t count = 1;
  for (const uint64_t extent : request.shape) count *= extent;
  std::uniform_real_distribution<float> uniform(-3.0f, 3.0f);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return Narrowed(values, request.dtype);
}

SegmentBytes Expected(Direction direction, const TensorRequest& request, const SegmentBytes& inputs) {
  const auto backend = MakeCpuBackend();
  SegmentBytes outputs = RunTensor(*backend, PlanOf(direction, request), inputs).outputs;
  outputs.erase(std::string(kSpooledScalesSegment));
  outputs.erase(std::string(kSpooledValuesSegment));
  return outputs;
}

}  // namespace quantd::testing
