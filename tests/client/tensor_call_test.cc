#include "client/cpp/tensor_call.h"

#include <deque>
#include <functional>
#include <string>

#include "client/cpp/tensor_task.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/plan.h"
#include "tests/client/recording_sink.h"
#include "tests/client/toy_peer.h"

namespace quantd {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Le;
using toy::ToyPeer;
using toy::ToyValues;

wire::ByteSpan SpanOf(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

// The whole request as the server sees it.
v1::QuantizeRequest Join(const OutgoingFrame& frame) {
  v1::QuantizeRequest request = frame.fields;
  EXPECT_EQ(frame.payload.size(), static_cast<size_t>(request.pieces_size()));
  for (int i = 0; i < request.pieces_size(); ++i) {
    const wire::ByteSpan part = frame.payload.at(i);
    if (frame.checksums) request.mutable_pieces(i)->set_crc32c(ExtendCrc32c(0, part));
    request.mutable_data()->append(reinterpret_cast<const char*>(part.data()), part.size());
  }
  return request;
}

absl::Status Deliver(v1::QuantizeResponse response, TensorCall& call, SegmentSink& sink) {
  const std::string data = std::move(*response.mutable_data());
  response.clear_data();
  std::shared_ptr<const KnownAccept> accept;
  if (response.has_accept()) {
    QUANTD_ASSIGN_OR_RETURN(accept, KnownAccept::Of(std::move(*response.mutable_accept())));
    response.clear_accept();
  }
  // In three parts, as a transport may have it.
  const wire::ByteSpan whole = SpanOf(data);
  const size_t third = whole.size() / 3;
  const wire::ByteSpan parts[] = {whole.first(third), whole.subspan(third, third), whole.subspan(2 * third)};
  return call.Receive(response, accept.get(), parts, sink);
}

// Lets the call send all it may, then answers everything, until nothing moves. `change` may spoil each answer.
// `window_bytes` is what the call may have outstanding once it was accepted.
struct Conversation {
  TensorCall& call;
  ToyPeer& peer;
  RecordingSink& sink;
  uint64_t initial_window_bytes = kInitialWindowBytes;
  std::function<void(v1::QuantizeResponse&)> change = [](v1::QuantizeResponse&) {};
  std::vector<size_t> frame_data_bytes;

  absl::Status Run() {
    uint64_t sent = 0;
    bool accepted = false;
    for (bool moved = true; moved && !call.summary().has_value();) {
      moved = false;
      std::deque<v1::QuantizeResponse> answers;
      while (const auto frame = call.NextFrame()) {
        moved = true;
        const v1::QuantizeRequest request = Join(*frame);
        sent += request.data().size();
        frame_data_bytes.push_back(request.data().size());
        const uint64_t window = accepted ? peer.accept().window_bytes() : initial_window_bytes;
        EXPECT_LE(sent - call.consumed_bytes(), window);
        for (const auto& answer : peer.Take(request)) answers.push_back(answer);
      }
      for (v1::QuantizeResponse& answer : answers) {
        moved = true;
        change(answer);
        accepted = accepted || answer.has_accept();
        if (absl::Status status = Deliver(answer, call, sink); !status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }
};

TensorTask ToyQuantizeTask(const std::string& values, const CallOptions& options = {}) {
  return *QuantizeTask({"w", DataType::kFloat32, {values.size() / 4}, SpanOf(values)}, {.preset = "toy"}, options);
}

struct ToyQuantized {
  explicit ToyQuantized(uint64_t elements) : values(ToyValues(elements)), segments(toy::Quantized(values)) {}

  QuantizedTensorView View() const {
    return {"w",
            {values.size() / 4},
            {.preset = "toy"},
            {{"codes", DataType::kUint8, {}, SpanOf(segments.at("codes"))},
             {"offset", DataType::kFloat32, {}, SpanOf(segments.at("offset"))},
             {"scales", DataType::kFloat32, {}, SpanOf(segments.at("scales"))}}};
  }
  TensorTask Task(const CallOptions& options = {}) const {
    return *DequantizeTask(View(), DataType::kFloat32, options);
  }

  std::string values;
  std::map<std::string, std::string> segments;
};

// Quantizes through a peer whose answers `change` spoils, and returns what the call says.
absl::Status QuantizeSpoilt(const std::function<void(v1::QuantizeResponse&)>& change, RecordingSink* sink = nullptr) {
  const std::string values = ToyValues(1000);
  const TensorTask task = ToyQuantizeTask(values, {.frame_data_bytes = 1000});
  TensorCall call(task);
  ToyPeer peer({});
  RecordingSink own_sink;
  return Conversation{call, peer, sink != nullptr ? *sink : own_sink, kInitialWindowBytes, change, {}}.Run();
}

void ExpectProtocolError(const absl::Status& status, const std::string& message_part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message_part));
}

TEST(TensorCall, SendsASmallTensorInOneFrame) {
  const std::string values = ToyValues(100);
  const TensorTask task = ToyQuantizeTask(values);
  TensorCall call(task);
  const auto frame = call.NextFrame();
  ASSERT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->fields.has_header());
  EXPECT_TRUE(frame->fields.last());
  EXPECT_EQ(Join(*frame).data(), values);
  EXPECT_EQ(static_cast<const void*>(frame->payload[0].data()), values.data());
  EXPECT_FALSE(call.NextFrame().has_value());
}

TEST(TensorCall, DeliversSchemeSegmentsAndSummary) {
  const std::string values = ToyValues(1000);
  const TensorTask task = ToyQuantizeTask(values);
  TensorCall call(task);
  ToyPeer peer({});
  RecordingSink sink;
  EXPECT_EQ((Conversation{call, peer, sink}.Run()), absl::OkStatus());
  EXPECT_EQ(sink.written, toy::Quantized(values));
  EXPECT_EQ(sink.scheme.preset, "toy");
  EXPECT_EQ(sink.scheme.overrides.at("block_size"), "64");
  EXPECT_EQ(sink.scheme.format_revision, 1u);
  EXPECT_EQ(sink.announced.at("codes"), 1000u);
  ASSERT_TRUE(call.summary().has_value());
  EXPECT_EQ(call.summary()->amax, 2.5f);
  EXPECT_EQ(call.summary()->nonfinite_count, 3u);
  EXPECT_EQ(call.summary()->compute_time, absl::Nanoseconds(1500));
  EXPECT_EQ(call.summary()->device, "toy");
  EXPECT_EQ(call.consumed_bytes(), 4000u);
  EXPECT_EQ(call.total_bytes(), 4000u);
}

TEST(TensorCall, QuantizesAnEmptyTensorWithOneFrame) {
  const TensorTask task = ToyQuantizeTask("");
  TensorCall call(task);
  ToyPeer peer({});
  RecordingSink sink;
  EXPECT_EQ((Conversation{call, peer, sink}.Run()), absl::OkStatus());
  EXPECT_EQ(peer.requests(), 1u);
  EXPECT_TRUE(call.summary().has_value());
}

TEST(TensorCall, SendsTheInitialWindowBeforeAcceptAndNoMore) {
  const std::string values = ToyValues(200'000);
  const TensorTask task = ToyQuantizeTask(values);
  TensorCall call(task);
  EXPECT_EQ(Join(*call.NextFrame()).data().size(), kInitialWindowBytes);
  EXPECT_FALSE(call.CanSend());
  EXPECT_FALSE(call.NextFrame().has_value());
}

TEST(TensorCall, StaysWithinEveryCreditAtEveryFrameSize) {
  const std::string values = ToyValues(30'000);
  for (uint64_t window_bytes : {256u, 1000u, 65536u, 8u << 20}) {
    for (uint32_t frame_data_bytes : {100u, 999u, 4096u, 1u << 20}) {
      const TensorTask task = ToyQuantizeTask(values, {.frame_data_bytes = frame_data_bytes});
      TensorCall call(task);
      ToyPeer peer({.window_bytes = window_bytes});
      RecordingSink sink;
      Conversation conversation{call, peer, sink};
      EXPECT_EQ(conversation.Run(), absl::OkStatus());
      EXPECT_EQ(sink.written, toy::Quantized(values));
      EXPECT_THAT(conversation.frame_data_bytes, Each(Le(frame_data_bytes)));
    }
  }
}

TEST(TensorCall, WaitsForTheCreditOfAWholeFrameIfSomeIsOnItsWay) {
  const std::string values = ToyValues(200'000);
  const TensorTask task = ToyQuantizeTask(values, {.frame_data_bytes = 10'000});
  TensorCall call(task);
  ToyPeer peer({.window_bytes = 65'000});
  RecordingSink sink;
  Conversation conversation{call, peer, sink};
  EXPECT_EQ(conversation.Run(), absl::OkStatus());
  EXPECT_EQ(sink.written, toy::Quantized(values));
  std::vector<size_t>& frames = conversation.frame_data_bytes;
  ASSERT_EQ(frames.at(26), kInitialWindowBytes % 10'000) << "before the accept it is not known what is on its way";
  frames.erase(frames.begin() + 26);
  ASSERT_EQ(frames.back(), (values.size() - kInitialWindowBytes % 10'000) % 10'000) << "the last bytes";
  frames.pop_back();
  EXPECT_THAT(frames, Each(10'000u));
}

TEST(TensorCall, WorksWithOneByteInEveryFrame) {
  const std::string values = ToyValues(130);
  const TensorTask task = ToyQuantizeTask(values, {.frame_data_bytes = 1});
  TensorCall call(task);
  ToyPeer peer({.response_data_bytes = 1});
  RecordingSink sink;
  EXPECT_EQ((Conversation{call, peer, sink}.Run()), absl::OkStatus());
  EXPECT_EQ(peer.requests(), values.size());
  EXPECT_EQ(sink.written, toy::Quantized(values));
}

TEST(TensorCall, MakesFramesNoLargerThanTheServerTakes) {
  // The peer itself checks all frames after the first.
  const std::string values = ToyValues(200'000);
  const TensorTask task = ToyQuantizeTask(values);
  TensorCall call(task);
  ToyPeer peer({.window_bytes = 1u << 20, .frame_data_bytes_max = 5000, .response_data_bytes = 100'000});
  RecordingSink sink;
  EXPECT_EQ((Conversation{call, peer, sink}.Run()), absl::OkStatus());
  EXPECT_EQ(sink.written, toy::Quantized(values));
}

TEST(TensorCall, WorksWithoutChecksums) {
  const std::string values = ToyValues(1000);
  const TensorTask task = ToyQuantizeTask(values, {.checksums = false});
  TensorCall call(task);
  ToyPeer peer({});
  RecordingSink sink;
  EXPECT_EQ((Conversation{call, peer, sink}.Run()), absl::OkStatus());
  EXPECT_EQ(sink.written, toy::Quantized(values));
}

TEST(TensorCallDequantize, SendsASmallTensorBeforeAcceptWithTheWholeTensorsSegmentFirst) {
  const ToyQuantized quantized(1000);
  const TensorTask task = quantized.Task();
  TensorCall call(task);
  const auto frame = call.NextFrame();
  ASSERT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->fields.last());
  ASSERT_EQ(frame->fields.pieces_size(), 3);
  EXPECT_EQ(frame->fields.pieces(0).segment(), "offset");
}

TEST(TensorCallDequantize, WaitsForAcceptWhereItCannotKnowTheBatches) {
  // Just above and just below 512 KiB of codes, scales, offset and values.
  const ToyQuantized above(104'000), below(100'000);
  const TensorTask waiting_task = above.Task(), early_task = below.Task();
  TensorCall waiting(waiting_task), early(early_task);
  const auto header_alone = waiting.NextFrame();
  ASSERT_TRUE(header_alone.has_value());
  EXPECT_EQ(header_alone->fields.pieces_size(), 0);
  EXPECT_FALSE(header_alone->fields.last());
  EXPECT_FALSE(waiting.CanSend());
  EXPECT_GT(early.NextFrame()->fields.pieces_size(), 0);
}

TEST(TensorCallDequantize, WaitsForAcceptWithSegmentsThatItDoesNotKnow) {
  const ToyQuantized quantized(100);
  QuantizedTensorView view = quantized.View();
  view.segments[0].name = "of a later release";
  const TensorTask task = *DequantizeTask(view, DataType::kFloat32, {});
  TensorCall call(task);
  EXPECT_EQ(call.NextFrame()->fields.pieces_size(), 0);
}

TEST(TensorCallDequantize, SendsWholeTensorSegmentsOfEverySchemeFirstAndNoWeightShape) {
  const std::string byte(1, 'x');
  QuantizedTensorView view{"w", {1, 1}, {}, {}};
  for (const char* name : {"codes", "zero_points", "weight_shape", "scales", "global_scale"}) {
    view.segments.push_back({name, DataType::kUint8, {1}, SpanOf(byte)});
  }
  const TensorTask task = *DequantizeTask(view, DataType::kFloat32, {});
  TensorCall call(task);
  const auto frame = call.NextFrame();
  std::vector<std::string> sent;
  for (const v1::Piece& piece : frame->fields.pieces()) sent.push_back(piece.segment());
  EXPECT_THAT(sent, ::testing::ElementsAre("global_scale", "scales", "zero_points", "codes"));
}

TEST(TensorCallDequantize, SendsBatchByBatchAtEveryFrameSizeAndWindow) {
  // The peer checks the order of the batches.
  const ToyQuantized quantized(150'001);
  for (uint64_t window_bytes : {1000u, 65536u, 8u << 20}) {
    for (uint32_t frame_data_bytes : {100u, 999u, 65536u, 1u << 20}) {
      const TensorTask task = quantized.Task({.frame_data_bytes = frame_data_bytes});
      TensorCall call(task);
      ToyPeer peer({.quantize = false, .window_bytes = window_bytes, .response_data_bytes = 100'000});
      RecordingSink sink;
      EXPECT_EQ((Conversation{call, peer, sink, 0}.Run()), absl::OkStatus());
      EXPECT_EQ(sink.written.at("values"), quantized.values);
    }
  }
}

TEST(TensorCallDequantize, WorksWithOneByteInEveryFrame) {
  const ToyQuantized quantized(700);
  const TensorTask task = quantized.Task({.frame_data_bytes = 1});
  TensorCall call(task);
  // All that is small enough to go early must be one batch.
  ToyPeer peer({.quantize = false, .batch_units = 1000, .response_data_bytes = 1});
  RecordingSink sink;
  EXPECT_EQ((Conversation{call, peer, sink}.Run()), absl::OkStatus());
  EXPECT_EQ(sink.written.at("values"), quantized.values);
}

// What a call for a changed tensor makes of the accept.
absl::Status DequantizeChanged(const std::function<void(QuantizedTensorView&)>& change) {
  const ToyQuantized quantized(1000);
  QuantizedTensorView view = quantized.View();
  change(view);
  const TensorTask task = *DequantizeTask(view, DataType::kFloat32, {});
  TensorCall call(task);
  call.NextFrame();
  v1::QuantizeRequest header_only;
  header_only.set_tensor_seq(1);
  *header_only.mutable_header() = task.header;
  RecordingSink sink;
  ToyPeer peer({.quantize = false});
  return Deliver(peer.Take(header_only).front(), call, sink);
}

TEST(TensorCallDequantize, RefusesToLeaveASegmentOut) {
  const absl::Status status = DequantizeChanged([](auto& view) { view.segments.pop_back(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(status).reason, reason::kIncompleteTensor);
  EXPECT_THAT(std::string(status.message()), HasSubstr("needs the segment scales"));
}

TEST(TensorCallDequantize, RefusesSegmentsOfTheWrongSize) {
  const absl::Status too_short =
      DequantizeChanged([](auto& view) { view.segments[0].bytes = view.segments[0].bytes.first(9); });
  EXPECT_EQ(DetailsOf(too_short).reason, reason::kIncompleteTensor) << too_short;
  const absl::Status too_long = DequantizeChanged([](auto& view) { view.segments[2].bytes = view.segments[0].bytes; });
  EXPECT_EQ(DetailsOf(too_long).reason, reason::kSegmentTooLong) << too_long;
}

TEST(TensorCallDequantize, RefusesSegmentsThatTheSchemeDoesNotHave) {
  const absl::Status status =
      DequantizeChanged([](auto& view) { view.segments.push_back({"zero_points", DataType::kUint8, {}, {}}); });
  EXPECT_EQ(DetailsOf(status).reason, reason::kUnknownSegment) << status;
}

TEST(TensorCallDequantize, RefusesOtherValuesThanThoseAskedFor) {
  const ToyQuantized quantized(1000);
  const TensorTask task = quantized.Task();
  TensorCall call(task);
  ToyPeer peer({.quantize = false, .batch_units = 1000});
  RecordingSink sink;
  const auto spoil = [](v1::QuantizeResponse& response) {
    if (response.has_accept()) response.mutable_accept()->mutable_outputs(0)->set_size_bytes(4004);
  };
  ExpectProtocolError((Conversation{call, peer, sink, kInitialWindowBytes, spoil, {}}.Run()), "other values");
  EXPECT_EQ(sink.begins, 0);
}

TEST(TensorCallReceive, RefusesAGap) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        for (v1::Piece& piece : *response.mutable_pieces()) piece.set_offset(piece.offset() + 1);
                      }),
                      "at byte 1 where 0 was due");
}

TEST(TensorCallReceive, RefusesDamagedBytesBeforeTheSinkSeesThem) {
  RecordingSink sink;
  const absl::Status status = QuantizeSpoilt(
      [](v1::QuantizeResponse& response) {
        if (!response.data().empty()) response.mutable_data()->front() ^= 1;
      },
      &sink);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_EQ(DetailsOf(status).reason, reason::kChecksumMismatch);
  EXPECT_TRUE(sink.written.empty());
}

TEST(TensorCallReceive, RefusesAFirstResponseWithNeitherAcceptNorError) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) { response.clear_accept(); }),
                      "neither accept nor error");
}

TEST(TensorCallReceive, RefusesPiecesWithoutChecksum) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        for (v1::Piece& piece : *response.mutable_pieces()) piece.clear_crc32c();
                      }),
                      "without checksum");
}

TEST(TensorCallReceive, RefusesPiecesThatDoNotSumToTheData) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        if (!response.data().empty()) response.mutable_data()->append("x");
                      }),
                      "pieces of");
}

TEST(TensorCallReceive, RefusesMoreThanWasAnnounced) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        if (!response.has_accept()) return;
                        for (v1::Segment& output : *response.mutable_accept()->mutable_outputs()) {
                          output.set_size_bytes(output.size_bytes() - 4);
                        }
                      }),
                      "more than the");
}

TEST(TensorCallReceive, RefusesAnUnknownSegment) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        for (v1::Piece& piece : *response.mutable_pieces()) piece.set_segment("extra");
                      }),
                      "unknown segment extra");
}

TEST(TensorCallReceive, RefusesAShortResult) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        if (!response.has_accept()) return;
                        for (v1::Segment& output : *response.mutable_accept()->mutable_outputs()) {
                          output.set_size_bytes(output.size_bytes() + 1);
                        }
                      }),
                      "it ended");
}

TEST(TensorCallReceive, RefusesASummaryWithoutDigests) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        if (response.has_summary()) response.mutable_summary()->clear_outputs();
                      }),
                      "a summary without the size");
}

TEST(TensorCallReceive, RefusesADigestThatDoesNotFit) {
  const absl::Status status = QuantizeSpoilt([](v1::QuantizeResponse& response) {
    if (response.has_summary()) response.mutable_summary()->mutable_outputs(0)->set_crc32c(1);
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_EQ(DetailsOf(status).reason, reason::kChecksumMismatch);
}

TEST(TensorCallReceive, IsNotCompleteWithoutSummary) {
  const std::string values = ToyValues(1000);
  const TensorTask task = ToyQuantizeTask(values);
  TensorCall call(task);
  ToyPeer peer({});
  RecordingSink sink;
  const auto spoil = [](v1::QuantizeResponse& response) { response.clear_summary(); };
  EXPECT_EQ((Conversation{call, peer, sink, kInitialWindowBytes, spoil, {}}.Run()), absl::OkStatus());
  EXPECT_FALSE(call.summary().has_value());
}

TEST(TensorCallReceive, RefusesASummaryBeforeTheEndOfTheInput) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        response.clear_pieces();
                        response.clear_data();
                        response.mutable_summary();
                      }),
                      "it ended");
  const std::string values = ToyValues(200'000);
  const TensorTask task = ToyQuantizeTask(values);
  TensorCall call(task);
  ToyPeer peer({});
  RecordingSink sink;
  v1::QuantizeResponse response = peer.Take(Join(*call.NextFrame())).front();
  response.clear_pieces();
  response.clear_data();
  response.mutable_summary();
  ExpectProtocolError(Deliver(response, call, sink), "a summary before the tensor's end");
}

TEST(TensorCallReceive, RefusesConsumptionOfWhatWasNotSent) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) { response.set_consumed_bytes(4001); }),
                      "consumed 4001 bytes");
}

TEST(TensorCallReceive, RefusesASecondAccept) {
  v1::Accept first;
  ExpectProtocolError(QuantizeSpoilt([&first](v1::QuantizeResponse& response) {
                        if (response.has_accept()) first = response.accept();
                        *response.mutable_accept() = first;
                      }),
                      "a second accept");
}

TEST(TensorCallReceive, RefusesAnAcceptWithoutCreditOrFrames) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        if (response.has_accept()) response.mutable_accept()->clear_window_bytes();
                      }),
                      "no credit");
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) {
                        if (response.has_accept()) response.mutable_accept()->clear_frame_data_bytes_max();
                      }),
                      "no data in a frame");
}

TEST(TensorCallReceive, RefusesAResponseToAnotherTensor) {
  ExpectProtocolError(QuantizeSpoilt([](v1::QuantizeResponse& response) { response.set_tensor_seq(2); }),
                      "for tensor 2");
}

TEST(TensorCallReceive, EndsTheTensorWithTheServersError) {
  const std::string values = ToyValues(200'000);
  const TensorTask task = ToyQuantizeTask(values);
  TensorCall call(task);
  call.NextFrame();
  v1::QuantizeResponse response;
  response.set_tensor_seq(1);
  response.mutable_error()->set_code(3);
  response.mutable_error()->set_message("value 7 is NaN");
  google::rpc::ErrorInfo info;
  info.set_domain("quantd");
  info.set_reason("NONFINITE_INPUT");
  response.mutable_error()->add_details()->PackFrom(info);
  RecordingSink sink;
  const absl::Status status = Deliver(response, call, sink);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(status).reason, reason::kNonfiniteInput);
  EXPECT_TRUE(call.server_error().has_value());
  // What is left of the tensor is only its end.
  const auto frame = call.NextFrame();
  ASSERT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->fields.last());
  EXPECT_TRUE(frame->payload.empty());
  EXPECT_FALSE(call.NextFrame().has_value());
}

TEST(TensorCallReceive, PassesOnWhatTheSinkSays) {
  RecordingSink sink;
  sink.refusal = absl::ResourceExhaustedError("disk full");
  EXPECT_EQ(QuantizeSpoilt([](v1::QuantizeResponse&) {}, &sink), absl::ResourceExhaustedError("disk full"));
}

TEST(TensorTask, RefusesOptionsAndTensorsThatCannotBe) {
  const std::string values(16, 'x');
  const auto reason_of = [&](DataType dtype, std::vector<uint64_t> shape) {
    return DetailsOf(QuantizeTask({"w", dtype, std::move(shape), SpanOf(values)}, {}, {}).status()).reason;
  };
  EXPECT_EQ(reason_of(DataType::kFloat32, {4}), "");
  EXPECT_EQ(reason_of(DataType::kFloat32, {5}), reason::kInvalidShape);
  EXPECT_EQ(reason_of(DataType::kBFloat16, {4}), reason::kInvalidShape);
  EXPECT_EQ(reason_of(DataType::kFloat32, {UINT64_MAX, UINT64_MAX}), reason::kInvalidShape);
  EXPECT_EQ(reason_of(DataType::kFloat32, {UINT64_MAX, 0}), reason::kInvalidShape);
  EXPECT_EQ(reason_of(DataType{}, {4}), reason::kInvalidDtype);
  for (uint32_t frame_data_bytes : {0u, wire::kFrameDataBytesMax + 1}) {
    const CallOptions options{.frame_data_bytes = frame_data_bytes};
    EXPECT_EQ(QuantizeTask({"w", DataType::kFloat32, {4}, SpanOf(values)}, {}, options).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(TensorTask, CarriesTheCallersWishes) {
  const std::string values(4, 'x');
  const CallOptions options{
      .statistics = {.offset = 0.5f, .amax = 3.0f, .min = -1.0f, .max = 2.0f, .global_scale = 1.5f},
      .error_metrics = true,
      .device = DevicePreference::kCpu,
      .priority = CallPriority::kLow};
  const auto task = QuantizeTask({"name", DataType::kFloat16, {1, 2}, SpanOf(values)},
                                 {"bnb-nf4", {{"block_size", "128"}}, 2}, options);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->header.name(), "name");
  EXPECT_EQ(task->header.dtype(), v1::DATA_TYPE_FLOAT16);
  EXPECT_THAT(task->header.shape(), ::testing::ElementsAre(1, 2));
  EXPECT_EQ(task->header.scheme().preset(), "bnb-nf4");
  EXPECT_EQ(task->header.scheme().overrides().at("block_size"), "128");
  EXPECT_EQ(task->header.scheme().format_revision(), 2u);
  EXPECT_EQ(task->header.statistics().offset(), 0.5f);
  EXPECT_EQ(task->header.statistics().amax(), 3.0f);
  EXPECT_EQ(task->header.statistics().min(), -1.0f);
  EXPECT_EQ(task->header.statistics().max(), 2.0f);
  EXPECT_EQ(task->header.statistics().global_scale(), 1.5f);
  EXPECT_TRUE(task->header.error_metrics());
  EXPECT_EQ(task->header.device_policy(), v1::DEVICE_POLICY_CPU);
  EXPECT_EQ(task->header.priority(), v1::PRIORITY_LOW);
  EXPECT_EQ(task->header.checksum_kind(), v1::CHECKSUM_KIND_CRC32C);
}

}  // namespace
}  // namespace quantd
