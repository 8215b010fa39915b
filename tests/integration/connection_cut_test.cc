// A client behind a network that cuts its connections at random bytes: the results are those of a quiet network, and
// little is sent twice.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>

#include "client/cpp/client.h"
#include "grpc/grpc.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/tensor_runner.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

std::unique_ptr<Client> ClientOf(const std::string& address, uint32_t connections_max = 1) {
  // Cuts follow each other faster than gRPC finds out, and on a busy machine many come before any result.
  ClientOptions options{
      .address = address,
      .retry = {.attempts_max = 50, .first_backoff = absl::Milliseconds(1), .backoff_max = absl::Milliseconds(20)},
      .connections_max = connections_max,
      .part_bytes_min = kMiB};
  auto client = Client::Create(options);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

std::map<std::string, Bytes> SegmentsOf(const QuantizedTensor& tensor) {
  std::map<std::string, Bytes> segments;
  for (const Segment& segment : tensor.segments) segments[segment.name] = segment.bytes;
  return segments;
}

class ConnectionCut : public ::testing::Test {
 protected:
  // gRPC 1.51 stays up between the tests: going down, it may wait 10 s for a poller that cut connections have left.
  static void SetUpTestSuite() { grpc_init(); }

  // The next `cuts` connections are cut after 1 to `bytes_max` bytes.
  void CutNext(uint64_t cuts, uint64_t bytes_max) {
    cuts_left_ = cuts;
    cut_bytes_max_ = bytes_max;
  }

  static std::vector<float> Values(uint64_t bytes) {
    std::mt19937 random(3);
    std::vector<float> values(bytes / sizeof(float));
    for (float& value : values) value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f;
    return values;
  }

  void ExpectSameSegments(const TensorView& tensor, const SchemeRequest& scheme) {
    const auto expected = quiet_->Quantize(tensor, scheme);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto actual = cut_->Quantize(tensor, scheme);
    ASSERT_TRUE(actual.ok()) << actual.status();
    EXPECT_TRUE(SegmentsOf(*actual) == SegmentsOf(*expected));
    EXPECT_EQ(actual->summary.amax, expected->summary.amax);
    EXPECT_EQ(actual->summary.nonfinite_count, expected->summary.nonfinite_count);
  }

  // What a cut may waste.
  uint64_t RepeatedBytesMax() const {
    const auto info = quiet_->GetServerInfo();
    return info->window_bytes + 4 * kMiB;
  }

  TestService service_;
  std::mt19937_64 random_ = MakeRandom(20);
  // Read by the proxy's accepting thread, while a call runs.
  std::atomic<uint64_t> cuts_left_ = 0;
  std::atomic<uint64_t> cut_bytes_max_ = 1;
  CuttingProxy proxy_{service_.tcp_address(), [this]() -> std::optional<uint64_t> {
                        if (cuts_left_ == 0) return std::nullopt;
                        --cuts_left_;
                        return 1 + random_() % cut_bytes_max_;
                      }};
  std::unique_ptr<Client> quiet_ = ClientOf(service_.tcp_address());
  std::unique_ptr<Client> cut_ = ClientOf(proxy_.address());
};

TEST_F(ConnectionCut, QuantizedBytesAndSummaryAreThoseOfAQuietNetwork) {
  const std::vector<float> values = Values(48 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size()}, std::as_bytes(std::span(values))};
  CutNext(12, 8 * kMiB);
  ExpectSameSegments(tensor, {.preset = "bnb-nf4"});
  EXPECT_EQ(proxy_.cuts(), 12u);
}

TEST_F(ConnectionCut, SoAreSegmentsOfSeveralKindsAndRowsThatShareZeroPoints) {
  const std::vector<float> values = Values(32 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size() / 1024, 1024}, std::as_bytes(std::span(values))};
  CutNext(8, 8 * kMiB);
  ExpectSameSegments(tensor, {.preset = "ct-w4a16-asym"});
  EXPECT_EQ(proxy_.cuts(), 8u);
}

// The schemes with a statistic of the whole tensor that the server finds.
const SchemeRequest kSpooledSchemes[] = {{.preset = "bnb-nf4", .overrides = {{"double_quant", "true"}}},
                                         {.preset = "int8", .overrides = {{"grouping", "tensor"}}},
                                         {.preset = "int8-asym", .overrides = {{"grouping", "tensor"}}},
                                         {.preset = "ct-nvfp4"}};

TEST_F(ConnectionCut, AStatisticOfTheWholeTensorSurvives) {
  const std::vector<float> values = Values(32 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size() / 1024, 1024}, std::as_bytes(std::span(values))};
  for (const SchemeRequest& scheme : kSpooledSchemes) {
    SCOPED_TRACE(scheme.preset);
    cut_ = ClientOf(proxy_.address());
    CutNext(6, 12 * kMiB);
    const uint64_t cuts_before = proxy_.cuts();
    const uint64_t bytes_before = proxy_.client_bytes();
    ExpectSameSegments(tensor, scheme);
    const uint64_t cuts = proxy_.cuts() - cuts_before;
    EXPECT_GE(cuts, 1u);
    EXPECT_LE(proxy_.client_bytes() - bytes_before, tensor.values.size() + cuts * RepeatedBytesMax());
  }
  EXPECT_EQ(quiet_->GetServerInfo()->parked_bytes, 0u) << "the client says that it has everything";
}

TEST_F(ConnectionCut, AStatisticThatAnotherServerFoundIsFoundAnew) {
  const std::vector<float> values = Values(16 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size() / 1024, 1024}, std::as_bytes(std::span(values))};
  TestService restarted({.server_instance = "restarted"});
  for (const SchemeRequest& scheme : kSpooledSchemes) {
    SCOPED_TRACE(scheme.preset);
    const auto expected = quiet_->Quantize(tensor, scheme);
    ASSERT_TRUE(expected.ok()) << expected.status();
    std::atomic<int> connections = 0;
    CuttingProxy* moving = nullptr;
    CuttingProxy proxy(service_.tcp_address(), [&]() -> std::optional<uint64_t> {
      if (++connections == 1) return 9 * kMiB;
      moving->SetUpstream(restarted.tcp_address());
      return std::nullopt;
    });
    moving = &proxy;
    const auto actual = ClientOf(proxy.address())->Quantize(tensor, scheme);
    ASSERT_TRUE(actual.ok()) << actual.status();
    EXPECT_TRUE(SegmentsOf(*actual) == SegmentsOf(*expected));
    EXPECT_EQ(proxy.cuts(), 1u);
  }
}

TEST_F(ConnectionCut, DequantizedBytesAreThoseOfAQuietNetwork) {
  const std::vector<float> values = Values(48 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size()}, std::as_bytes(std::span(values))};
  const auto quantized = quiet_->Quantize(tensor, {.preset = "bnb-nf4"});
  ASSERT_TRUE(quantized.ok()) << quantized.status();
  const auto expected = quiet_->Dequantize(quantized->View(), DataType::kFloat32);
  ASSERT_TRUE(expected.ok()) << expected.status();
  CutNext(12, 8 * kMiB);
  const auto actual = cut_->Dequantize(quantized->View(), DataType::kFloat32);
  ASSERT_TRUE(actual.ok()) << actual.status();
  EXPECT_TRUE(actual->values == expected->values);
  EXPECT_EQ(proxy_.cuts(), 12u);
}

TEST_F(ConnectionCut, PartsOnSeveralConnectionsAreJoinedToTheSameBytes) {
  const std::vector<float> values = Values(32 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size() / 1024, 1024}, std::as_bytes(std::span(values))};
  cut_ = ClientOf(proxy_.address(), 4);
  const SchemeRequest schemes[] = {
      {.preset = "bnb-nf4"}, {.preset = "ct-w4a16-asym"}, {.preset = "mxfp8-e4m3"}, {.preset = "ct-w8a8"}};
  for (const SchemeRequest& scheme : schemes) {
    SCOPED_TRACE(scheme.preset);
    CutNext(6, 4 * kMiB);
    ExpectSameSegments(tensor, scheme);
    const auto quantized = quiet_->Quantize(tensor, scheme);
    ASSERT_TRUE(quantized.ok()) << quantized.status();
    const auto expected = quiet_->Dequantize(quantized->View(), DataType::kBFloat16);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto actual = cut_->Dequantize(quantized->View(), DataType::kBFloat16);
    ASSERT_TRUE(actual.ok()) << actual.status();
    EXPECT_TRUE(actual->values == expected->values);
  }
  EXPECT_GE(proxy_.cuts(), 6u);
}

TEST_F(ConnectionCut, WastesAtMostAWindow) {
  const std::vector<float> values = Values(64 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size()}, std::as_bytes(std::span(values))};
  CutNext(3, 40 * kMiB);
  const uint64_t before = proxy_.client_bytes();
  ASSERT_TRUE(cut_->Quantize(tensor, {.preset = "bnb-nf4"}).ok());
  EXPECT_GE(proxy_.cuts(), 1u);
  EXPECT_LE(proxy_.client_bytes() - before, tensor.values.size() + proxy_.cuts() * RepeatedBytesMax());
}

TEST_F(ConnectionCut, CalibratedTensorsAndImportedFilesCountOnce) {
  const auto exported = [this](const std::string& session_id) {
    EXPECT_TRUE(quiet_->SealCalibration(session_id).ok());
    std::vector<std::byte> bytes;
    const absl::Status status = quiet_->ExportCalibration(session_id, [&](std::span<const std::byte> part) {
      bytes.insert(bytes.end(), part.begin(), part.end());
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return bytes;
  };
  const std::vector<float> values = Values(4 * kMiB);
  const TensorView tensor{"x", DataType::kFloat32, {values.size()}, std::as_bytes(std::span(values))};
  CutNext(10, 5 * kMiB);
  for (int step = 0; step < 8; ++step) {
    const std::string contribution_id = "step-" + std::to_string(step);
    ASSERT_TRUE(quiet_->Calibrate(tensor, {.session_id = "quiet", .contribution_id = contribution_id}).ok());
    const auto summary = cut_->Calibrate(tensor, {.session_id = "cut", .contribution_id = contribution_id});
    ASSERT_TRUE(summary.ok()) << summary.status();
  }
  EXPECT_GE(proxy_.cuts(), 1u);
  const std::vector<std::byte> expected = exported("quiet");
  EXPECT_TRUE(exported("cut") == expected);
  const uint64_t cuts_before = proxy_.cuts();
  cut_ = ClientOf(proxy_.address());  // a connection that can be cut
  CutNext(3, expected.size());
  const auto outcome = cut_->ImportCalibration("imported", "file", expected);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_GT(proxy_.cuts(), cuts_before);
  EXPECT_TRUE(exported("imported") == expected);
}

// Too long for every commit: --gtest_also_run_disabled_tests. docs/benchmarks.md has what they said.
class DISABLED_ManyConnectionCuts : public ConnectionCut, public ::testing::WithParamInterface<SchemeRequest> {};

TEST_P(DISABLED_ManyConnectionCuts, TwoHundredOverTensorsOfOneGibibyte) {
  const SchemeRequest scheme = GetParam();
  const std::vector<float> values = Values(1024 * kMiB);
  const TensorView tensor{"w", DataType::kFloat32, {values.size() / 1024, 1024}, std::as_bytes(std::span(values))};
  const auto expected = quiet_->Quantize(tensor, scheme);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const uint64_t repeated_bytes_max = RepeatedBytesMax();
  uint64_t most_repeated_bytes = 0;
  while (proxy_.cuts() < 200) {
    const uint64_t cuts_before = proxy_.cuts();
    const uint64_t bytes_before = proxy_.client_bytes();
    CutNext(25, 64 * kMiB);
    // Its connection is a new one, which can be cut.
    const auto actual = ClientOf(proxy_.address())->Quantize(tensor, scheme);
    ASSERT_TRUE(actual.ok()) << actual.status();
    ASSERT_TRUE(SegmentsOf(*actual) == SegmentsOf(*expected));
    const uint64_t cuts = proxy_.cuts() - cuts_before;
    ASSERT_GT(cuts, 0u);
    const uint64_t repeated = proxy_.client_bytes() - bytes_before - tensor.values.size();
    EXPECT_LE(repeated, cuts * repeated_bytes_max);
    most_repeated_bytes = std::max(most_repeated_bytes, repeated / cuts);
  }
  std::cout << proxy_.cuts() << " cuts, repeated at most " << most_repeated_bytes / 1024
            << " KiB for each of a tensor's\n";
}

INSTANTIATE_TEST_SUITE_P(, DISABLED_ManyConnectionCuts,
                         ::testing::Values(SchemeRequest{.preset = "bnb-nf4"}, kSpooledSchemes[0], kSpooledSchemes[1]),
                         [](const auto& info) { return std::to_string(info.index); });

}  // namespace
}  // namespace quantd::testing
