// A client whose address stands for several servers: all its connections go to one, until that one is gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "client/cpp/client.h"
#include "grpc/grpc.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/tensor_runner.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Keeps what comes, and does something once `bytes` have come.
class WatchingSink final : public SegmentSink {
 public:
  WatchingSink(uint64_t bytes, std::function<void()> then) : bytes_left_(bytes), then_(std::move(then)) {}

  absl::Status Begin(const SchemeRequest&, std::span<const SegmentView>, std::span<const uint64_t>) override {
    ++begun;
    return absl::OkStatus();
  }
  absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override {
    EXPECT_EQ(offset, segments[segment].size()) << segment << ": a gap, or something twice";
    segments[segment].insert(segments[segment].end(), bytes.begin(), bytes.end());
    bytes_left_ -= std::min<uint64_t>(bytes_left_, bytes.size());
    if (bytes_left_ == 0 && then_ != nullptr) std::exchange(then_, nullptr)();
    return absl::OkStatus();
  }
  bool happened() const { return then_ == nullptr; }

  int begun = 0;
  std::map<std::string, Bytes> segments;

 private:
  uint64_t bytes_left_;
  std::function<void()> then_;
};

class SeveralServers : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { grpc_init(); }  // see connection_cut_test.cc

  static std::unique_ptr<Client> ClientOf(const std::string& address) {
    ClientOptions options{
        .address = address,
        .retry = {.attempts_max = 20, .first_backoff = absl::Milliseconds(1), .backoff_max = absl::Milliseconds(20)},
        .connections_max = 4,
        .part_bytes_min = kMiB};
    auto client = Client::Create(options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  std::string Both() const { return "ipv4:" + first_->tcp_address() + "," + second_.tcp_address(); }
  TensorView Tensor(uint64_t bytes) {
    std::mt19937 random(3);
    values_.resize(bytes / sizeof(float));
    for (float& value : values_) value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f;
    return {"w", DataType::kFloat32, {values_.size() / 1024, 1024}, std::as_bytes(std::span(values_))};
  }
  // As a server that is asked to stop, at the end of its patience.
  void DrainFirst() {
    first_->service().BeginDrain();
    first_->service().HandBack();
  }
  static std::map<std::string, Bytes> SegmentsOf(const QuantizedTensor& tensor) {
    std::map<std::string, Bytes> segments;
    for (const Segment& segment : tensor.segments) segments[segment.name] = segment.bytes;
    return segments;
  }

  std::vector<float> values_;
  std::unique_ptr<TestService> first_ = std::make_unique<TestService>(TestServiceOptions{.server_instance = "first"});
  TestService second_{{.server_instance = "second"}};
};

TEST_F(SeveralServers, AllConnectionsGoToOne) {
  const auto client = ClientOf(Both());
  const TensorView tensor = Tensor(16 * kMiB);
  for (int i = 0; i < 3; ++i) {
    const auto result = client->Quantize(tensor, {.preset = "bnb-nf4"});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->summary.server_instance, "first");
  }
  EXPECT_EQ(client->GetServerInfo()->server_instance, "first");
  EXPECT_THAT(second_.rpcs().WaitFor(0), ::testing::IsEmpty());
}

TEST_F(SeveralServers, AllMoveOnFromOneThatIsGone) {
  const auto client = ClientOf(Both());
  const TensorView tensor = Tensor(16 * kMiB);
  const auto expected = client->Quantize(tensor, {.preset = "bnb-nf4"});
  ASSERT_TRUE(expected.ok()) << expected.status();
  first_ = nullptr;
  const auto actual = client->Quantize(tensor, {.preset = "bnb-nf4"});
  ASSERT_TRUE(actual.ok()) << actual.status();
  EXPECT_EQ(SegmentsOf(*actual), SegmentsOf(*expected));
  EXPECT_EQ(client->GetServerInfo()->server_instance, "second");
}

TEST_F(SeveralServers, OneThatIsDownFromTheStartIsPassedOver) {
  const std::string address = Both();
  first_ = nullptr;
  const auto client = ClientOf(address);
  const auto result = client->Quantize(Tensor(kMiB), {.preset = "bnb-nf4"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->summary.server_instance, "second");
}

TEST_F(SeveralServers, ATensorThatADrainHandsBackIsFinishedByTheOther) {
  const TensorView tensor = Tensor(32 * kMiB);
  for (const char* preset : {"bnb-nf4", "ct-w4a16-asym"}) {
    SCOPED_TRACE(preset);
    first_ = std::make_unique<TestService>(TestServiceOptions{.server_instance = "first"});
    const auto expected = ClientOf(second_.tcp_address())->Quantize(tensor, {.preset = preset});
    ASSERT_TRUE(expected.ok()) << expected.status();
    WatchingSink sink(kMiB, [this] { DrainFirst(); });
    const auto summary = ClientOf(Both())->Quantize(tensor, {.preset = preset}, sink);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_TRUE(sink.happened());
    EXPECT_EQ(sink.begun, 1);
    EXPECT_TRUE(sink.segments == SegmentsOf(*expected));
    EXPECT_EQ(summary->amax, expected->summary.amax);
    EXPECT_EQ(summary->server_instance, "second");
    const auto rpcs = first_->rpcs().WaitFor(1);
    ASSERT_FALSE(rpcs.empty());
    EXPECT_EQ(rpcs.front().reason, reason::kServerDraining);
    EXPECT_LT(rpcs.front().bytes_received, tensor.values.size());
  }
}

TEST_F(SeveralServers, OneOfTwoPassesIsBegunAnewByTheOther) {
  const TensorView tensor = Tensor(32 * kMiB);
  const SchemeRequest scheme = {.preset = "bnb-nf4", .overrides = {{"double_quant", "true"}}};
  const auto expected = ClientOf(second_.tcp_address())->Quantize(tensor, scheme);
  ASSERT_TRUE(expected.ok()) << expected.status();
  WatchingSink sink(kMiB, [this] { DrainFirst(); });
  const auto summary = ClientOf(Both())->Quantize(tensor, scheme, sink);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_TRUE(sink.happened());
  EXPECT_TRUE(sink.segments == SegmentsOf(*expected));
  EXPECT_EQ(summary->server_instance, "second");
}

TEST_F(SeveralServers, DequantizedTensorsAreHandedBackToo) {
  const TensorView tensor = Tensor(32 * kMiB);
  const auto quantized = ClientOf(second_.tcp_address())->Quantize(tensor, {.preset = "bnb-nf4"});
  ASSERT_TRUE(quantized.ok()) << quantized.status();
  const auto expected = ClientOf(second_.tcp_address())->Dequantize(quantized->View(), DataType::kFloat32);
  ASSERT_TRUE(expected.ok()) << expected.status();
  WatchingSink sink(8 * kMiB, [this] { DrainFirst(); });
  const auto summary = ClientOf(Both())->Dequantize(quantized->View(), DataType::kFloat32, sink);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_TRUE(sink.happened());
  EXPECT_TRUE(sink.segments["values"] == expected->values);
}

TEST_F(SeveralServers, SmallTensorsOnOneStreamGoOnAtTheOther) {
  const TensorView tensor = Tensor(16 << 10);
  const std::vector<TensorView> tensors(2000, tensor);
  uint64_t done = 0;
  CallOptions options;
  options.progress = [&](uint64_t, uint64_t) {
    if (++done == 500) DrainFirst();
  };
  const auto results = ClientOf(Both())->QuantizeAll(tensors, {.preset = "bnb-nf4"}, options);
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(SegmentsOf(*result), SegmentsOf(*results.front()));
  }
  EXPECT_GE(done, tensors.size());
  EXPECT_FALSE(second_.rpcs().WaitFor(1).empty());
}

TEST_F(SeveralServers, WhatOneKeepsOfABrokenStreamIsForeignToTheOther) {
  const TensorView tensor = Tensor(16 * kMiB);
  const SchemeRequest scheme = {.preset = "int8", .overrides = {{"grouping", "tensor"}}};
  const auto expected = ClientOf(second_.tcp_address())->Quantize(tensor, scheme);
  ASSERT_TRUE(expected.ok()) << expected.status();
  std::atomic<int> connections = 0;
  CuttingProxy* door = nullptr;
  CuttingProxy proxy(first_->tcp_address(), [&]() -> std::optional<uint64_t> {
    // The first is the client's look whether anybody is there.
    if (++connections == 2) return 9 * kMiB;
    if (connections > 2) door->SetUpstream("127.0.0.1:1");
    return std::nullopt;
  });
  door = &proxy;
  const auto actual = ClientOf("ipv4:" + proxy.address() + "," + second_.tcp_address())->Quantize(tensor, scheme);
  ASSERT_TRUE(actual.ok()) << actual.status();
  EXPECT_EQ(SegmentsOf(*actual), SegmentsOf(*expected));
  EXPECT_EQ(proxy.cuts(), 1u);
  EXPECT_EQ(actual->summary.server_instance, "second");
  EXPECT_GT(ClientOf(first_->tcp_address())->GetServerInfo()->parked_bytes, 0u);
}

TEST_F(SeveralServers, ACalibrationSessionIsNotCountedInTwoHalves) {
  const auto client = ClientOf(Both());
  const TensorView tensor = Tensor(kMiB);
  ASSERT_TRUE(client->Calibrate(tensor, {.session_id = "s", .contribution_id = "1"}).ok());
  ASSERT_TRUE(client->Calibrate(tensor, {.session_id = "s", .contribution_id = "2"}).ok());
  first_ = nullptr;
  const absl::Status status = client->Calibrate(tensor, {.session_id = "s", .contribution_id = "3"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(client->Calibrate(tensor, {.session_id = "another", .contribution_id = "1"}).ok());
}

}  // namespace
}  // namespace quantd::testing
