// What can be wrong with a tensor, and with a stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Frames;
using testing::HeaderFrame;
using testing::InputPart;
using testing::MakeFrame;
using testing::QuantizeInput;
using testing::Request;
using testing::SegmentBytes;
using testing::SessionServer;
using testing::TensorOutput;
using testing::TestStream;

constexpr uint64_t kElements = 1024;  // of the tensors below, 4 KiB

TensorRequest Plain() { return Request(DataType::kFloat32, {kElements}); }
Bytes Zeros(size_t bytes = kElements * sizeof(float)) { return Bytes(bytes); }

// ---- Errors of one tensor ----

struct TensorError {
  std::string name;
  std::string_view reason;
  std::function<std::vector<RequestFrame>()> frames;  // of tensor 1
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  Direction direction = Direction::kQuantize;
  Limits limits = {};
};

// The header with one thing changed, the data right.
std::function<std::vector<RequestFrame>()> WithHeader(std::function<void(TensorRequest&)> change) {
  return [change = std::move(change)] {
    TensorRequest request = Plain();
    change(request);
    return std::vector{HeaderFrame(1, request, {{"values", 0, Zeros(2048)}}),
                       MakeFrame(1, {{"values", 2048, Zeros(2048)}}, true)};
  };
}

// A right header, then these pieces.
std::function<std::vector<RequestFrame>()> WithPieces(std::vector<InputPart> parts,
                                                      std::function<void(RequestFrame&)> change = nullptr) {
  return [parts = std::move(parts), change = std::move(change)] {
    std::vector frames{HeaderFrame(1, Plain()), MakeFrame(1, parts, false), MakeFrame(1, {}, true)};
    if (change != nullptr) change(frames[1]);
    return frames;
  };
}

std::vector<TensorError> TensorErrors() {
  using absl::StatusCode;
  Limits small = testing::SmallLimits();
  Limits no_spool;
  no_spool.spool_bytes_per_stream_max = 0;
  Limits few_overrides;
  few_overrides.overrides_max = 1;
  std::vector<TensorError> errors = {
      {"UnknownScheme", reason::kUnknownScheme, WithHeader([](auto& r) { r.scheme.preset = "nf5"; })},
      {"UnknownRevision", reason::kUnknownRevision, WithHeader([](auto& r) { r.scheme.format_revision = 77; })},
      {"UnknownOverride", reason::kInvalidOverride, WithHeader([](auto& r) { r.scheme.overrides["colour"] = "red"; })},
      {"InvalidOverride", reason::kInvalidOverride,
       WithHeader([](auto& r) { r.scheme.overrides["block_size"] = "63"; })},
      {"TooManyOverrides", reason::kInvalidOverride,
       WithHeader([](auto& r) { r.scheme.overrides = {{"block_size", "64"}, {"nonfinite", "reject"}}; }),
       StatusCode::kInvalidArgument, Direction::kQuantize, few_overrides},
      {"InvalidDtype", reason::kInvalidDtype, WithHeader([](auto& r) { r.dtype = DataType::kUint8; })},
      {"TooLarge", reason::kInvalidShape, WithHeader([](auto& r) { r.shape = {1 << 20, 1 << 20}; })},
      {"OverflowingShape", reason::kInvalidShape, WithHeader([](auto& r) { r.shape = {1ull << 40, 1ull << 40}; })},
      {"TooManyExtents", reason::kInvalidShape, WithHeader([](auto& r) { r.shape.assign(17, 1); })},
      {"LongName", reason::kInvalidName, WithHeader([](auto& r) { r.name.assign(513, 'x'); })},
      {"RangeInsideAUnit", reason::kUnalignedRange, WithHeader([](auto& r) { r.range = {1, kElements}; })},
      {"RangeBeyondTheEnd", reason::kUnalignedRange, WithHeader([](auto& r) { r.range = {0, kElements + 64}; })},
      {"RangeBackwards", reason::kUnalignedRange, WithHeader([](auto& r) { r.range = {128, 64}; })},
      {"StatisticNeeded", reason::kStatisticNeeded, WithHeader([](auto& r) {
         r.shape = {1 << 20};
         r.scheme.overrides["double_quant"] = "true";
         r.range = {0, 16384};
       })},
      {"UnusedStatistic", reason::kUnusedStatistic, WithHeader([](auto& r) { r.known.offset = 1.0f; })},
      {"InvalidStatistic", reason::kInvalidStatistic, WithHeader([](auto& r) {
         r.scheme.overrides["double_quant"] = "true";
         r.known.offset = NAN;
       })},
      {"NoGpu", reason::kNoGpu, WithHeader([](auto& r) { r.device_policy = DevicePolicy::kGpu; }),
       StatusCode::kFailedPrecondition},
      {"UnitTooLarge", reason::kUnitTooLarge,
       WithHeader([](auto& r) { r.scheme.overrides = {{"double_quant", "true"}, {"block_size", "4096"}}; }),
       StatusCode::kFailedPrecondition, Direction::kQuantize, small},
      {"SpoolBudget", reason::kSpoolBudget, WithHeader([](auto& r) { r.scheme.overrides["double_quant"] = "true"; }),
       StatusCode::kResourceExhausted, Direction::kQuantize, no_spool},
      {"HeaderThatCouldNotBeConverted", reason::kInvalidDtype,
       [] {
         std::vector frames{MakeFrame(1, {{"values", 0, Zeros()}}, true)};
         frames[0].header = InvalidArgument(reason::kInvalidDtype, "dtype 99 is none");
         return frames;
       }},
      {"NoHeader", reason::kMalformedFrame, [] { return std::vector{MakeFrame(1, {{"values", 0, Zeros()}}, true)}; }},
      {"SecondHeader", reason::kMalformedFrame,
       [] { return std::vector{HeaderFrame(1, Plain()), HeaderFrame(1, Plain(), {{"values", 0, Zeros()}}, true)}; }},
      {"UnknownSegment", reason::kUnknownSegment, WithPieces({{"codes", 0, Zeros(4)}})},
      {"EmptyPieceOfAnUnknownSegment", reason::kUnknownSegment, WithPieces({{"codes", 0, {}}})},
      {"SpooledScalesAreNobodysSegment", reason::kUnknownSegment, WithPieces({{"spooled_scales", 0, Zeros(4)}})},
      {"Gap", reason::kUnexpectedOffset, WithPieces({{"values", 0, Zeros(4)}, {"values", 8, Zeros(4)}})},
      {"Repetition", reason::kUnexpectedOffset, WithPieces({{"values", 0, Zeros(4)}, {"values", 0, Zeros(4)}})},
      {"EmptyPieceElsewhere", reason::kUnexpectedOffset, WithPieces({{"values", 4, {}}})},
      {"HugeOffset", reason::kUnexpectedOffset, WithPieces({{"values", UINT64_MAX, Zeros(4)}})},
      {"TooLong", reason::kSegmentTooLong, WithPieces({{"values", 0, Zeros(kElements * 4 + 1)}})},
      {"BeyondTheEnd", reason::kSegmentTooLong,
       WithPieces({{"values", 0, Zeros()}, {"values", kElements * 4, Zeros(1)}})},
      {"Incomplete", reason::kIncompleteTensor, WithPieces({{"values", 0, Zeros(kElements * 4 - 1)}})},
      {"NothingAtAll", reason::kIncompleteTensor, [] { return std::vector{HeaderFrame(1, Plain(), {}, true)}; }},
      {"MissingChecksum", reason::kMissingChecksum,
       [] {
         TensorRequest request = Plain();
         request.checksum_kind = ChecksumKind::kCrc32c;
         std::vector frames{HeaderFrame(1, request, {{"values", 0, Zeros()}}, true)};
         frames[0].pieces[0].crc32c.reset();
         return frames;
       }},
      {"ChecksumMismatch", reason::kChecksumMismatch,
       WithPieces({{"values", 0, Zeros()}}, [](RequestFrame& frame) { *frame.pieces[0].crc32c ^= 1; }),
       StatusCode::kDataLoss},
      {"ChecksumOfAnEmptyPiece", reason::kChecksumMismatch,
       WithPieces({{"values", 0, {}}}, [](RequestFrame& frame) { *frame.pieces[0].crc32c ^= 1; }),
       StatusCode::kDataLoss},
      {"SegmentOrder", reason::kSegmentOrder,
       [] {
         // More scales than one slot's batch has, and no codes.
         const TensorRequest request = Request(DataType::kFloat32, {1 << 20});
         return std::vector{HeaderFrame(1, request, {{"scales", 0, Zeros((1 << 20) / 64 * 4)}}, true)};
       },
       StatusCode::kInvalidArgument, Direction::kDequantize, small},
      {"WholeTensorSegmentTooLate", reason::kSegmentOrder,
       [] {
         const TensorRequest request = Request(DataType::kFloat32, {kElements}, "bnb-nf4", {{"double_quant", "true"}});
         return std::vector{HeaderFrame(1, request,
                                        {{"nested_scales", 0, Zeros(4)},
                                         {"scales", 0, Zeros(16)},
                                         {"codes", 0, Zeros(512)},
                                         {"offset", 0, Zeros(4)}},
                                        true)};
       },
       StatusCode::kInvalidArgument, Direction::kDequantize},
      {"WholeTensorSegmentMissing", reason::kIncompleteTensor,
       [] {
         return std::vector{
             HeaderFrame(1, Request(DataType::kFloat32, {0}, "bnb-nf4", {{"double_quant", "true"}}), {}, true)};
       },
       StatusCode::kInvalidArgument, Direction::kDequantize},
      {"WholeTensorSegmentTooLong", reason::kSegmentTooLong,
       [] {
         return std::vector{HeaderFrame(1, Request(DataType::kFloat32, {0}, "bnb-nf4", {{"double_quant", "true"}}),
                                        {{"offset", 0, Zeros(8)}}, true)};
       },
       StatusCode::kInvalidArgument, Direction::kDequantize},
      {"OffsetIsNotForDequantize", reason::kUnusedStatistic, WithHeader([](auto& r) { r.known.offset = 1.0f; }),
       StatusCode::kInvalidArgument, Direction::kDequantize},
  };
  return errors;
}

class StreamTensorError : public ::testing::TestWithParam<TensorError> {
 protected:
  // Any right tensor of the direction.
  std::vector<RequestFrame> RightTensor(uint64_t seq) const {
    if (GetParam().direction == Direction::kQuantize) return Frames(seq, QuantizeInput(Plain(), Zeros()), 3000);
    return Frames(seq, testing::DequantizeInput(Plain(), {{"scales", Zeros(64)}, {"codes", Zeros(512)}}, kElements),
                  100);
  }
  void ExpectTheError(const TensorOutput& output) const {
    EXPECT_EQ(output.error.code(), GetParam().code) << output.error;
    EXPECT_EQ(DetailsOf(output.error).reason, GetParam().reason) << output.error;
    EXPECT_FALSE(output.error.message().empty());
    EXPECT_FALSE(output.summary.has_value());
  }
};

TEST_P(StreamTensorError, FailsTheTensorAndNotTheStream) {
  SessionServer server({.direction = GetParam().direction, .limits = GetParam().limits});
  TestStream stream(server);
  stream.Send(GetParam().frames());
  stream.Send(RightTensor(2));
  stream.HalfClose();
  stream.RunAll();
  ExpectTheError(stream.Output(1));
  EXPECT_TRUE(stream.Output(2).summary.has_value()) << stream.Output(2).error;
  ASSERT_TRUE(stream.io.finished.has_value());
  EXPECT_TRUE(stream.io.finished->ok()) << *stream.io.finished;
  EXPECT_EQ(server.slots_in_use(), 0u);
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
  EXPECT_EQ(stream.session->totals().tensors_failed, 1u);
  EXPECT_EQ(stream.session->totals().tensors_done, 1u);
}

TEST_P(StreamTensorError, WaitsForTheResultsOfTheTensorBefore) {
  SessionServer server({.direction = GetParam().direction, .limits = GetParam().limits});
  TestStream stream(server);
  stream.Send(RightTensor(1));
  std::vector<RequestFrame> wrong = GetParam().frames();
  for (RequestFrame& frame : wrong) frame.tensor_seq = 2;
  stream.Send(std::move(wrong));
  while (stream.Deliver()) {
  }
  for (const auto& frame : stream.io.frames) EXPECT_EQ(frame.tensor_seq, 1u);
  stream.RunAll();
  EXPECT_TRUE(stream.Output(1).summary.has_value()) << stream.Output(1).error;
  ExpectTheError(stream.Output(2));
  EXPECT_EQ(stream.io.frames.back().tensor_seq, 2u);
}

TEST_P(StreamTensorError, AHalfCloseMayTakeThePlaceOfTheRest) {
  SessionServer server({.direction = GetParam().direction, .limits = GetParam().limits});
  TestStream stream(server);
  std::vector<RequestFrame> frames = GetParam().frames();
  if (GetParam().reason == reason::kIncompleteTensor) return;  // fails at `last` only
  frames.back().last = false;
  stream.Send(std::move(frames));
  stream.HalfClose();
  stream.RunAll();
  ExpectTheError(stream.Output(1));
  EXPECT_TRUE(stream.io.finished.value().ok()) << *stream.io.finished;
}

INSTANTIATE_TEST_SUITE_P(, StreamTensorError, ::testing::ValuesIn(TensorErrors()),
                         [](const auto& info) { return info.param.name; });

// ---- Non-finite input ----

// Five slots' worth of zeros with NaN at some elements.
class StreamNonfinite : public ::testing::Test {
 protected:
  static constexpr uint64_t kCount = 1'100'000;
  void SendWithNanAt(std::initializer_list<uint64_t> elements) {
    std::vector<float> values(kCount);
    for (const uint64_t element : elements) values[element] = NAN;
    stream_.Send(Frames(1, QuantizeInput(request_, testing::BytesOf(values)), 1 << 20));
  }
  void ExpectElement(const std::string& element) {
    const ErrorDetails details = DetailsOf(stream_.Output(1).error);
    EXPECT_EQ(details.reason, reason::kNonfiniteInput) << stream_.Output(1).error;
    EXPECT_THAT(details.metadata, ::testing::Contains(::testing::Pair("element", element)));
  }

  const TensorRequest request_ = Request(DataType::kFloat32, {kCount});
  SessionServer server_{{.limits = testing::SmallLimits()}};
  TestStream stream_{server_};
};

TEST_F(StreamNonfinite, TheFirstElementIsNamed) {
  SendWithNanAt({3, 70, kCount - 1});
  stream_.RunAll();
  ExpectElement("3");
}

TEST_F(StreamNonfinite, TheFirstElementIsNamedWhenLaterRunsAreThroughBefore) {
  SendWithNanAt({100'000, 300'000, 500'000});
  while (stream_.Deliver()) {
  }
  EXPECT_GT(server_.executor.waiting(), 1u);
  while (server_.executor.RunNewest()) {
  }
  stream_.RunAll();
  ExpectElement("100000");
}

TEST_F(StreamNonfinite, CountsFromTheTensorsFirstElementInARange) {
  TensorRequest request = request_;
  request.range = {64'000, 128'000};
  std::vector<float> values(kCount);
  values[10] = NAN;  // not in the range
  values[70'000] = -INFINITY;
  stream_.Send(Frames(1, QuantizeInput(request, testing::BytesOf(values)), 1 << 20));
  stream_.RunAll();
  ExpectElement("70000");
}

TEST_F(StreamNonfinite, TheStreamGoesOn) {
  SendWithNanAt({kCount - 1});
  stream_.Send(Frames(2, QuantizeInput(Plain(), Zeros()), 1 << 20));
  stream_.RunAll();
  ExpectElement(std::to_string(kCount - 1));
  EXPECT_TRUE(stream_.Output(2).summary.has_value());
  EXPECT_EQ(server_.slots_in_use(), 0u);
}

// ---- A backend that fails ----

class FailingBackend final : public Backend {
 public:
  FailingBackend(uint64_t call, absl::Status status) : failing_call_(call), status_(std::move(status)) {}
  std::string_view name() const override { return "failing"; }
  std::string_view target() const override { return "none"; }
  absl::StatusOr<BatchResult> Run(const Plan&, const UnitBatch&, const std::atomic<bool>&) override {
    if (++calls_ == failing_call_) return status_;
    return BatchResult{};
  }

 private:
  const uint64_t failing_call_;
  const absl::Status status_;
  uint64_t calls_ = 0;
};

TEST(StreamBackendFailure, IsTheTensorsErrorAndTheNextOneSucceeds) {
  FailingBackend backend(3, MakeError(absl::StatusCode::kInternal, reason::kBackendFailed, "the device is gone"));
  SessionServer server({.limits = testing::SmallLimits(), .backend = &backend});
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(Request(DataType::kFloat32, {1 << 20}), Zeros(4 << 20)), 1 << 20));
  stream.Send(Frames(2, QuantizeInput(Plain(), Zeros()), 1 << 20));
  stream.RunAll();
  EXPECT_EQ(DetailsOf(stream.Output(1).error).reason, reason::kBackendFailed);
  EXPECT_TRUE(stream.Output(2).summary.has_value());
  EXPECT_EQ(server.slots_in_use(), 0u);
}

TEST(StreamErrors, ConsumedBytesDoNotFallInTheErrorFrame) {
  FailingBackend backend(2, MakeError(absl::StatusCode::kInternal, reason::kBackendFailed, "the device is gone"));
  SessionServer server({.backend = &backend});
  TestStream stream(server);
  stream.Send(HeaderFrame(1, Plain(), {{"values", 0, Zeros(1024)}}));
  stream.RunAll();
  EXPECT_EQ(stream.io.frames.back().consumed_bytes, 1024u);
  stream.Send(MakeFrame(1, {{"values", 1024, Zeros(3072)}}, true));
  stream.RunAll();
  EXPECT_FALSE(stream.io.frames.back().error.ok());
  EXPECT_EQ(stream.io.frames.back().consumed_bytes, 1024u);
}

// ---- Errors that end the stream ----

struct StreamError {
  std::string name;
  std::string_view reason;
  std::function<absl::StatusOr<RequestFrame>()> frame;  // comes inside of tensor 1
};

class StreamEndingError : public ::testing::TestWithParam<StreamError> {};

TEST_P(StreamEndingError, EndsTheStreamAndGivesTheSlotsBack) {
  SessionServer server;
  TestStream stream(server);
  stream.Send(HeaderFrame(1, Plain(), {{"values", 0, Zeros(400)}}));
  stream.RunAll();
  ASSERT_TRUE(stream.io.read_pending);
  stream.io.read_pending = false;
  stream.session->OnFrame(GetParam().frame());
  stream.RunAll();
  ASSERT_TRUE(stream.io.finished.has_value());
  EXPECT_EQ(stream.io.finished->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(*stream.io.finished).reason, GetParam().reason);
  EXPECT_EQ(server.slots_in_use(), 0u);
  EXPECT_EQ(stream.session->totals().tensors_failed, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    , StreamEndingError,
    ::testing::Values(StreamError{"TensorTooEarly", reason::kUnexpectedTensor, [] { return MakeFrame(2, {}, false); }},
                      StreamError{"TensorZero", reason::kUnexpectedTensor, [] { return MakeFrame(0, {}, false); }},
                      StreamError{"PiecesBeyondTheData", reason::kMalformedFrame,
                                  [] {
                                    RequestFrame frame = MakeFrame(1, {{"values", 400, Zeros(8)}}, false);
                                    frame.pieces[0].length = 9;
                                    return frame;
                                  }},
                      StreamError{"DataBeyondThePieces", reason::kMalformedFrame,
                                  [] {
                                    RequestFrame frame = MakeFrame(1, {{"values", 400, Zeros(8)}}, false);
                                    frame.pieces.clear();
                                    return frame;
                                  }},
                      StreamError{"FrameThatCouldNotBeTakenApart", reason::kFrameTooLarge,
                                  [] { return InvalidArgument(reason::kFrameTooLarge, "too large"); }}),
    [](const auto& info) { return info.param.name; });

TEST(StreamEnding, ATensorThatIsRepeatedEndsTheStream) {
  SessionServer server;
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(Plain(), Zeros()), 1 << 20));
  stream.Send(Frames(1, QuantizeInput(Plain(), Zeros()), 1 << 20));
  stream.RunAll();
  EXPECT_EQ(DetailsOf(stream.io.finished.value()).reason, reason::kUnexpectedTensor);
}

TEST(StreamEnding, TheStatusWaitsForTheFrameThatIsBeingSent) {
  SessionServer server;
  TestStream stream(server);
  stream.Send(HeaderFrame(1, Plain()));
  stream.Deliver();
  ASSERT_TRUE(stream.io.write_pending) << "the accept";
  stream.Send(MakeFrame(7, {}, false));
  stream.Deliver();
  EXPECT_FALSE(stream.io.finished.has_value());
  stream.TakeWritten();
  EXPECT_EQ(DetailsOf(stream.io.finished.value()).reason, reason::kUnexpectedTensor);
}

TEST(StreamEnding, AHalfCloseInsideATensorIsIncomplete) {
  SessionServer server;
  TestStream stream(server);
  stream.Send(HeaderFrame(1, Plain(), {{"values", 0, Zeros(400)}}));
  stream.HalfClose();
  stream.RunAll();
  EXPECT_EQ(stream.io.finished.value().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(*stream.io.finished).reason, reason::kIncompleteTensor);
  EXPECT_EQ(server.slots_in_use(), 0u);
}

TEST(StreamEnding, AHalfCloseWaitsForTheResults) {
  SessionServer server;
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(Plain(), Zeros()), 1 << 20));
  stream.HalfClose();
  while (stream.Deliver()) {
  }
  EXPECT_FALSE(stream.io.finished.has_value());
  stream.RunAll();
  EXPECT_TRUE(stream.Output(1).summary.has_value());
  EXPECT_TRUE(stream.io.finished.value().ok());
}

// ---- Texts of strangers ----

TEST(StreamErrors, ALongSegmentNameIsCutInTheMessage) {
  SessionServer server;
  TestStream stream(server);
  stream.Send(HeaderFrame(1, Plain(), {{std::string(5000, 'x'), 0, {}}}, true));
  stream.RunAll();
  const TensorOutput output = stream.Output(1);
  EXPECT_EQ(DetailsOf(output.error).reason, reason::kUnknownSegment);
  EXPECT_LT(output.error.message().size(), 300u);
}

}  // namespace
}  // namespace quantd::server
