// What goes wrong on real streams: cancel, deadlines, clients that do not read, overload, drain.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/support/bulk_stream.h"
#include "tests/support/tensor_runner.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

using ::testing::Contains;
using ::testing::Key;

std::string RandomValues(uint64_t seed, uint64_t elements) {
  auto random = MakeRandom(seed);
  const Bytes bytes = BytesOf(RandomTensor(random, elements, 64));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string ReasonOf(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status rpc;
  rpc.ParseFromString(status.error_details());
  return ReasonOf(rpc);
}

// The first megabyte of a tensor that has more.
v1::QuantizeRequest FirstFrameOf(uint64_t elements) {
  v1::QuantizeRequest request;
  request.set_tensor_seq(1);
  *request.mutable_header() = HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {elements});
  request.set_data(RandomValues(1, 1 << 18));
  v1::Piece& piece = *request.add_pieces();
  piece.set_segment("values");
  piece.set_length(static_cast<uint32_t>(request.data().size()));
  return request;
}

// Few slots: one that is lost is missed.
server::Limits FewSlots() {
  server::Limits limits;
  limits.slots_max = 2;
  limits.slots_per_stream_max = 2;
  return limits;
}

void ExpectServes(TestService& service) {
  const std::string values = RandomValues(2, 1 << 22);
  QuantizeStream stream(service.InProcessChannel());
  const TensorOutcome outcome =
      stream.Exchange(HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {1 << 22}), {{"values", 0, values}});
  EXPECT_TRUE(outcome.summary.has_value());
}

TEST(StreamFault, CancelInsideATensorGivesTheSlotsBack) {
  TestService service({.limits = FewSlots()});
  for (size_t i = 0; i < 8; ++i) {
    QuantizeStream stream(service.TcpChannel());
    ASSERT_TRUE(stream.Write(FirstFrameOf(1 << 22)));
    v1::QuantizeResponse response;
    ASSERT_TRUE(stream.Read(response));
    stream.context().TryCancel();
    EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_EQ(service.rpcs().WaitFor(i + 1).back().status.code(), absl::StatusCode::kCancelled);
  }
  EXPECT_EQ(service.service().open_streams(), 0u);
  ExpectServes(service);
}

TEST(StreamFault, DeadlineInsideATensorGivesTheSlotsBack) {
  TestService service({.limits = FewSlots()});
  v1::QuantizeResponse response;
  QuantizeStream stream(service.TcpChannel(), absl::Milliseconds(200));
  ASSERT_TRUE(stream.Write(FirstFrameOf(1 << 22)));
  while (stream.Read(response)) {
  }
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  service.rpcs().WaitFor(1);
  ExpectServes(service);
}

TEST(StreamFault, ClientThatVanishesGivesTheSlotsBack) {
  TestService service({.limits = FewSlots()});
  {
    auto channel = service.TcpChannel();
    QuantizeStream stream(channel);
    ASSERT_TRUE(stream.Write(FirstFrameOf(1 << 22)));
  }
  EXPECT_EQ(service.rpcs().WaitFor(1).front().status.code(), absl::StatusCode::kCancelled);
  ExpectServes(service);
}

TEST(StreamFault, ClientThatNeverReadsIsCutOff) {
  server::Limits limits = FewSlots();
  limits.stall_max = absl::Milliseconds(300);
  TestService service({.limits = limits});
  QuantizeStream stream(service.TcpChannel());
  const uint64_t elements = 1 << 26;  // makes 36 MiB of results: more than the transport holds
  v1::TensorHeader header = HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {elements});
  stream.SendTensor(header, {{"values", 0, std::string(elements * 4, '\0')}},
                    FramesOf(1 << 20));  // returns when the server ends the stream
  const auto records = service.rpcs().WaitFor(1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records.front().reason, "STALLED");
  EXPECT_LT(records.front().bytes_received, elements * 4);
  ExpectServes(service);
}

TEST(StreamFault, ClientThatStopsSendingIsToldSo) {
  server::Limits limits = FewSlots();
  limits.stall_max = absl::Milliseconds(500);  // ExpectServes keeps it with a sanitizer too
  TestService service({.limits = limits});
  QuantizeStream stream(service.TcpChannel());
  ASSERT_TRUE(stream.Write(FirstFrameOf(1 << 22)));
  v1::QuantizeResponse response;
  while (stream.Read(response)) {
  }
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ReasonOf(status), "STALLED");
  ExpectServes(service);
}

TEST(StreamFault, ClientThatIgnoresCreditGetsTheRightBytes) {
  const uint64_t elements = (1 << 24) + 17;  // 64 MiB, eight windows
  const std::string values = RandomValues(3, elements);
  TestService few({.limits = FewSlots()});
  TestService plenty;
  QuantizeStream greedy(few.TcpChannel());
  QuantizeStream other(plenty.InProcessChannel());
  const v1::TensorHeader header = HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {elements});
  const TensorOutcome outcome = greedy.Exchange(header, {{"values", 0, values}}, FramesOf(4 << 20 >> 1));
  const TensorOutcome expected = other.Exchange(header, {{"values", 0, values}}, FramesOf(100'000));
  ASSERT_TRUE(outcome.summary.has_value());
  EXPECT_EQ(outcome.segments, expected.segments);
}

TEST(StreamFault, FailureOfTheFirstOfTwoTensorsLeavesTheSecond) {
  TestService service;
  QuantizeStream stream(service.InProcessChannel());
  const std::string values = RandomValues(4, 4096);
  const auto header = HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {4096});
  const TensorOutcome first = stream.Exchange(header, {{"values", 4, values}});
  ASSERT_TRUE(first.error.has_value());
  EXPECT_EQ(ReasonOf(*first.error), "UNEXPECTED_OFFSET");
  EXPECT_LE(first.error->ByteSizeLong(), 4096u);
  const TensorOutcome second = stream.Exchange(header, {{"values", 0, values}});
  EXPECT_TRUE(second.summary.has_value());
  EXPECT_EQ(second.tensor_seq, 2u);
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
  const auto records = service.rpcs().WaitFor(1);
  EXPECT_EQ(records.front().tensors_done, 1u);
  EXPECT_EQ(records.front().tensors_failed, 1u);
  EXPECT_EQ(records.front().reason, "UNEXPECTED_OFFSET");
}

TEST(StreamFault, HalfCloseInsideATensorIsAnError) {
  TestService service;
  QuantizeStream stream(service.InProcessChannel());
  ASSERT_TRUE(stream.Write(FirstFrameOf(1 << 22)));
  stream.WritesDone();
  v1::QuantizeResponse response;
  while (stream.Read(response)) {
  }
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "INCOMPLETE_TENSOR");
}

TEST(StreamFault, BytesThatAreNoFrameEndTheStream) {
  TestService service;
  grpc::GenericStub stub(service.InProcessChannel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = stub.PrepareCall(&context, "/quantd.v1.QuantizationService/Quantize", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok));
  const grpc::Slice garbage("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
  call->Write(grpc::ByteBuffer(&garbage, 1), nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok));
  grpc::Status status;
  call->Finish(&status, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "MALFORMED_FRAME");
}

TEST(StreamFault, StreamsBeyondTheLimitAreRefusedBeforeAnyPayload) {
  server::Limits limits;
  limits.streams_max = 2;
  limits.streams_per_principal_max = 2;
  TestService service({.limits = limits});
  v1::QuantizeResponse response;
  QuantizeStream first(service.TcpChannel());
  QuantizeStream second(service.TcpChannel());
  ASSERT_TRUE(first.Write(FirstFrameOf(1 << 22)));
  ASSERT_TRUE(first.Read(response));
  ASSERT_TRUE(second.Write(FirstFrameOf(1 << 22)));
  ASSERT_TRUE(second.Read(response));
  QuantizeStream third(service.TcpChannel());
  EXPECT_FALSE(third.Read(response));
  const grpc::Status status = third.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "SERVER_STREAMS");
  EXPECT_THAT(third.context().GetServerTrailingMetadata(), Contains(Key("grpc-retry-pushback-ms")));
}

TEST(StreamFault, DrainFinishesTheTensorAndRefusesTheNext) {
  TestService service;
  QuantizeStream stream(service.TcpChannel());
  const std::string values = RandomValues(1, 1 << 19);
  v1::QuantizeRequest request = FirstFrameOf(1 << 19);
  request.set_data(values.substr(0, 1 << 20));
  ASSERT_TRUE(stream.Write(request));
  v1::QuantizeResponse response;
  ASSERT_TRUE(stream.Read(response));
  service.service().BeginDrain();
  v1::QuantizeRequest rest;
  rest.set_tensor_seq(1);
  rest.set_last(true);
  rest.set_data(values.substr(1 << 20));
  v1::Piece& piece = *rest.add_pieces();
  piece.set_segment("values");
  piece.set_offset(1 << 20);
  piece.set_length(static_cast<uint32_t>(rest.data().size()));
  ASSERT_TRUE(stream.Write(rest));
  EXPECT_TRUE(stream.ReadTensor().summary.has_value());
  EXPECT_FALSE(stream.Read(response));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "SERVER_DRAINING");
  QuantizeStream late(service.TcpChannel());
  EXPECT_FALSE(late.Read(response));
  EXPECT_EQ(late.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// Every stream spools, and there are fewer slots than streams: nobody may wait for a slot that only another waiter
// could free.
TEST(StreamFault, ManyStreamsShareFewSlotsWithoutDeadlock) {
  TestService service({.limits = FewSlots()});
  const uint64_t elements = 3 << 20;
  const std::string values = RandomValues(5, elements);
  const auto header = HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {elements}, {{"double_quant", "true"}});
  std::vector<TensorOutcome> outcomes(8);
  std::vector<std::thread> clients;
  for (TensorOutcome& outcome : outcomes) {
    clients.emplace_back([&] {
      QuantizeStream stream(service.TcpChannel());
      stream.Exchange(header, {{"values", 0, values}});
      outcome = stream.Exchange(header, {{"values", 0, values}}, FramesOf(300'000));
    });
  }
  for (std::thread& client : clients) client.join();
  for (const TensorOutcome& outcome : outcomes) {
    ASSERT_TRUE(outcome.summary.has_value());
    EXPECT_EQ(outcome.segments, outcomes.front().segments);
  }
}

// Ranges over several connections, in frames of random sizes, are the whole tensor's bytes.
TEST(StreamProperty, AnySplitIntoRangesConnectionsAndFramesGivesTheSameBytes) {
  TestService service;
  constexpr uint64_t kUnit = 64 * 256;
  const uint64_t elements = 40 * kUnit + 12345;
  const std::string values = RandomValues(6, elements);
  auto header = HeaderOf("bnb-fp4", v1::DATA_TYPE_FLOAT32, {elements}, {{"double_quant", "true"}});
  header.mutable_statistics()->set_offset(0.75f);
  QuantizeStream whole_stream(service.InProcessChannel());
  const auto whole = whole_stream.Exchange(header, {{"values", 0, values}}).segments;
  auto random = MakeRandom(7);
  for (int round = 0; round < 10; ++round) {
    std::map<std::string, std::string> joined;
    for (uint64_t begin = 0; begin < elements;) {
      const uint64_t end = std::min(elements, begin + kUnit * (1 + random() % 15));
      header.mutable_range()->set_begin(begin);
      header.mutable_range()->set_end(end);
      QuantizeStream stream(service.TcpChannel());
      auto frame_size = [&random] { return 1 + random() % 200'000; };
      const TensorOutcome part =
          stream.Exchange(header, {{"values", begin * 4, values.substr(begin * 4, (end - begin) * 4)}}, frame_size);
      ASSERT_TRUE(part.summary.has_value()) << part.error->message();
      for (const auto& [name, bytes] : part.segments) {
        if (name == "offset") {
          joined[name] = bytes;
        } else {
          joined[name] += bytes;
        }
      }
      begin = end;
    }
    EXPECT_EQ(joined, whole);
  }
}

}  // namespace
}  // namespace quantd::testing
