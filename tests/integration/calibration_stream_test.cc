// Calibration over real streams: the same `.qcal` bytes however the tensors came, and what others may not see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>
#include <random>
#include <thread>

#include "client/cpp/client.h"
#include "google/rpc/error_details.pb.h"
#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/bulk_stream.h"
#include "tests/support/tensor_runner.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kRows = 640;
constexpr uint64_t kColumns = 1024;
constexpr uint64_t kParts = 64;
constexpr uint64_t kPartRows = kRows / kParts;

std::string ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

std::string ReasonOf(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

std::vector<float> RandomFloats(uint64_t seed, uint64_t count) {
  auto random = MakeRandom(seed);
  std::normal_distribution<float> normal(0.f, 3.f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TensorView View(const std::string& name, const std::vector<float>& values, uint64_t columns = kColumns) {
  return {name, DataType::kFloat32, {values.size() / columns, columns}, std::as_bytes(std::span(values))};
}

class Peer {
 public:
  explicit Peer(TestServiceOptions options = {})
      : service(std::move(options)), client(*Client::OverChannel(service.TcpChannel())) {}

  void Calibrate(const std::string& session_id, const TensorView& tensor, const std::string& contribution_id) {
    const auto summary = client->Calibrate(tensor, {session_id, {}, contribution_id, 0});
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_TRUE(summary->counted.value());
  }

  std::string Export(const std::string& session_id) {
    EXPECT_TRUE(client->SealCalibration(session_id).ok());
    std::string all;
    const absl::Status status = client->ExportCalibration(session_id, [&](std::span<const std::byte> part) {
      EXPECT_LE(part.size(), 1u << 20);
      all.append(reinterpret_cast<const char*>(part.data()), part.size());
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return all;
  }

  absl::StatusOr<ImportOutcome> Import(const std::string& session_id, const std::string& import_id,
                                       const std::string& bytes) {
    return client->ImportCalibration(session_id, import_id, std::as_bytes(std::span(bytes)));
  }

  TestService service;
  std::unique_ptr<Client> client;
};

// The activations of 64 steps, one below another; every step is a contribution of its own.
class CalibrationStreams : public ::testing::Test {
 protected:
  std::vector<float> Part(uint64_t part) const {
    const auto begin = values_.begin() + static_cast<int64_t>(part * kPartRows * kColumns);
    return {begin, begin + static_cast<int64_t>(kPartRows * kColumns)};
  }

  // One stream, one tensor after another.
  std::string InOneStream() {
    Peer peer;
    CalibrateStream stream(peer.service.TcpChannel());
    for (uint64_t part = 0; part < kParts; ++part) {
      const std::vector<float> values = Part(part);
      EXPECT_TRUE(Send(stream, "s", part, values, FramesOf(1 << 20)));
    }
    stream.WritesDone();
    EXPECT_TRUE(stream.Finish().ok());
    return peer.Export("s");
  }

  static bool Send(CalibrateStream& stream, const std::string& session_id, uint64_t part,
                   const std::vector<float>& values, const FrameSize& frame_size) {
    v1::TensorHeader header;
    header.set_name("attention.input");
    header.set_dtype(v1::DATA_TYPE_FLOAT32);
    header.add_shape(values.size() / kColumns);
    header.add_shape(kColumns);
    header.mutable_contribution()->set_session_id(session_id);
    header.mutable_contribution()->set_contribution_id("step-" + std::to_string(part));
    const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    const TensorOutcome outcome = stream.Exchange(header, {{"values", 0, bytes}}, frame_size);
    EXPECT_FALSE(outcome.error.has_value()) << outcome.error->message();
    return outcome.summary.has_value() && outcome.summary->calibration().counted() && outcome.segments.empty();
  }

  const std::vector<float> values_ = RandomFloats(7, kRows* kColumns);
};

TEST_F(CalibrationStreams, SixtyFourStreamsInRandomOrderAndChunksMakeTheBytesOfOne) {
  const std::string expected = InOneStream();
  Peer peer;
  std::vector<uint64_t> order(kParts);
  std::iota(order.begin(), order.end(), 0);
  auto random = MakeRandom(3);
  std::shuffle(order.begin(), order.end(), random);
  std::vector<std::thread> clients;
  for (const uint64_t part : order) {
    clients.emplace_back([&, part] {
      auto own_random = MakeRandom(part);
      CalibrateStream stream(peer.service.TcpChannel());
      const auto chunk = [&] { return std::uniform_int_distribution<uint64_t>(1, 20'000)(own_random); };
      EXPECT_TRUE(Send(stream, "s", part, Part(part), chunk));
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(peer.Export("s"), expected);
}

TEST_F(CalibrationStreams, ThreeServersMergeToTheBytesOfOneInEveryOrder) {
  const std::string expected = InOneStream();
  std::vector<std::string> exported;
  for (uint64_t server = 0; server < 3; ++server) {
    Peer peer;
    for (uint64_t part = server; part < kParts; part += 3) {
      const std::vector<float> values = Part(part);
      peer.Calibrate("own", View("attention.input", values), "step-" + std::to_string(part));
    }
    exported.push_back(peer.Export("own"));
  }
  Peer target;
  std::vector<int> order = {0, 1, 2};
  int round = 0;
  do {
    const std::string session_id = "merged-" + std::to_string(round++);
    for (const int server : order) {
      const auto outcome = target.Import(session_id, "server-" + std::to_string(server), exported[server]);
      ASSERT_TRUE(outcome.ok()) << outcome.status();
      EXPECT_EQ(outcome->merged_tensors, 1u);
    }
    EXPECT_EQ(target.Export(session_id), expected);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(round, 6);
}

TEST_F(CalibrationStreams, ATensorInRangesIsSoManyContributions) {
  const std::string expected = InOneStream();
  Peer peer;
  const std::string all(reinterpret_cast<const char*>(values_.data()), values_.size() * sizeof(float));
  constexpr uint64_t kCuts[] = {0, 1000, 300'001, kRows * kColumns};
  for (int i = 2; i >= 0; --i) {
    v1::TensorHeader header;
    header.set_name("attention.input");
    header.set_dtype(v1::DATA_TYPE_FLOAT32);
    header.add_shape(kRows);
    header.add_shape(kColumns);
    header.mutable_range()->set_begin(kCuts[i]);
    header.mutable_range()->set_end(kCuts[i + 1]);
    header.mutable_contribution()->set_session_id("s");
    header.mutable_contribution()->set_contribution_id("range-" + std::to_string(i));
    CalibrateStream stream(peer.service.TcpChannel());
    const auto outcome =
        stream.Exchange(header, {{"values", kCuts[i] * 4, all.substr(kCuts[i] * 4, (kCuts[i + 1] - kCuts[i]) * 4)}});
    ASSERT_FALSE(outcome.error.has_value()) << outcome.error->message();
  }
  EXPECT_EQ(peer.Export("s"), expected);
}

TEST(CalibrationStream, TheSummarySaysWhatTheTensorWas) {
  Peer peer;
  const std::vector<float> values = {1, -4, 3, NAN};
  const auto summary = peer.client->Calibrate(View("w", values, 4), {"s", {}, "a", 0});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->amax, 4);
  EXPECT_EQ(summary->lowest, -4);
  EXPECT_EQ(summary->highest, 3);
  EXPECT_EQ(summary->nonfinite_count, 1u);
  EXPECT_EQ(summary->contributions, 1u);
  const auto again = peer.client->Calibrate(View("w", values, 4), {"s", {}, "a", 0});
  EXPECT_FALSE(again->counted.value());
}

TEST(CalibrationStream, ACancelInTheMiddleOfATensorLeavesNoTrace) {
  Peer peer({.compute_threads = 1});  // so that what it was computing is done before the next request is answered
  {
    CalibrateStream stream(peer.service.TcpChannel());
    v1::CalibrateRequest request;
    request.set_tensor_seq(1);
    request.mutable_header()->set_name("w");
    request.mutable_header()->set_dtype(v1::DATA_TYPE_FLOAT32);
    request.mutable_header()->add_shape(1 << 20);
    request.mutable_header()->mutable_contribution()->set_session_id("s");
    request.mutable_header()->mutable_contribution()->set_contribution_id("a");
    v1::Piece& piece = *request.add_pieces();
    piece.set_segment("values");
    piece.set_length(100'000);
    request.set_data(std::string(100'000, 'x'));
    ASSERT_TRUE(stream.Write(request));
    v1::CalibrateResponse response;
    ASSERT_TRUE(stream.Read(response));
    EXPECT_TRUE(response.has_accept());
    EXPECT_EQ(peer.client->ListCalibrations()->size(), 1u);
  }
  peer.service.rpcs().WaitFor(2);
  EXPECT_TRUE(peer.client->ListCalibrations()->empty());
  EXPECT_EQ(ReasonOf(peer.client->DescribeCalibration("s").status()), reason::kUnknownCalibration);
}

TEST(CalibrationStream, AFailedTensorDoesNotCountAndTheNextOneDoes) {
  Peer peer;
  CalibrateStream stream(peer.service.TcpChannel());
  v1::TensorHeader header;
  header.set_name("w");
  header.set_dtype(v1::DATA_TYPE_FLOAT32);
  header.add_shape(2);
  header.mutable_contribution()->set_session_id("s");
  header.mutable_contribution()->set_contribution_id("a");
  const TensorOutcome short_one = stream.Exchange(header, {{"values", 0, std::string(4, '\0')}});
  ASSERT_TRUE(short_one.error.has_value());
  EXPECT_EQ(ReasonOf(*short_one.error), reason::kIncompleteTensor);
  const TensorOutcome whole = stream.Exchange(header, {{"values", 0, std::string(8, '\0')}});
  ASSERT_TRUE(whole.summary.has_value());
  EXPECT_TRUE(whole.summary->calibration().counted());
  EXPECT_EQ(whole.summary->calibration().contributions(), 1u);
}

TEST(CalibrationStream, HeadersAreRefusedBeforeThePayload) {
  Peer peer;
  const std::vector<float> values = {1, 2};
  const auto reason_of = [&](const CalibrationContribution& contribution, const std::string& name = "w") {
    return ReasonOf(peer.client->Calibrate(View(name, values, 2), contribution).status());
  };
  EXPECT_EQ(reason_of({"", {}, "a", 0}), reason::kInvalidCalibration);
  EXPECT_EQ(reason_of({"s", {}, "", 0}), reason::kInvalidCalibration);
  EXPECT_EQ(reason_of({"s", {}, "a", 0}, ""), reason::kInvalidName);
  EXPECT_EQ(reason_of({"s", {{"collect", "moving_average"}}, "a", 0}), reason::kInvalidStatisticsConfig);
  EXPECT_TRUE(peer.client->ListCalibrations()->empty());
  EXPECT_EQ(ReasonOf(peer.client
                         ->Quantize(View("w", values, 2), {"int8", {{"grouping", "tensor"}}},
                                    {.calibration = CalibrationReference{.session_id = "s"}})
                         .status()),
            reason::kUnknownCalibration);
}

TEST(CalibrationStream, TenThousandTensorsAreExportedAndImportedInStockMessages) {
  Peer one;
  constexpr int kTensors = 10'000;
  const std::vector<float> values = RandomFloats(1, 32);
  CalibrateStream stream(one.service.TcpChannel());
  std::thread writer([&] {
    v1::CalibrateRequest request;
    for (int i = 0; i < kTensors; ++i) {
      request.Clear();
      request.set_tensor_seq(i + 1);
      v1::TensorHeader& header = *request.mutable_header();
      header.set_name("layers." + std::to_string(i) + ".input");
      header.set_dtype(v1::DATA_TYPE_FLOAT32);
      header.add_shape(32);
      header.mutable_contribution()->set_session_id("s");
      header.mutable_contribution()->set_contribution_id("a");
      v1::Piece& piece = *request.add_pieces();
      piece.set_segment("values");
      piece.set_length(128);
      request.set_data(values.data(), 128);
      request.set_last(true);
      if (!stream.Write(request)) return;
    }
    stream.WritesDone();
  });
  int counted = 0;
  v1::CalibrateResponse response;
  while (stream.Read(response)) counted += response.summary().calibration().counted() ? 1 : 0;
  writer.join();
  EXPECT_TRUE(stream.Finish().ok());
  ASSERT_EQ(counted, kTensors);

  const std::string exported = one.Export("s");
  EXPECT_GT(exported.size(), 1u << 20) << "more than one message";
  Peer other;
  const auto outcome = other.Import("t", "file", exported);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->merged_tensors, static_cast<uint64_t>(kTensors));
  EXPECT_EQ(other.Export("t"), exported);
  const auto results = other.client->GetCalibration("t", {});
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->tensors.size(), static_cast<size_t>(kTensors));
  EXPECT_EQ(results->digest->size_bytes, exported.size());
  EXPECT_EQ(results->digest->crc32c, ExtendCrc32c(0, std::as_bytes(std::span(exported))));
  RecordProperty("memory_bytes_of_a_tensor", static_cast<int>(results->state.memory_bytes / kTensors));
}

TEST(CalibrationStream, AnImportThatStandsStillIsCutOff) {
  server::Limits limits;
  limits.stall_max = absl::Milliseconds(100);
  Peer peer({.limits = limits});
  const auto stub = v1::QuantizationService::NewStub(peer.service.TcpChannel());
  grpc::ClientContext context;
  v1::ImportCalibrationResponse response;
  const auto writer = stub->ImportCalibration(&context, &response);
  v1::ImportCalibrationRequest begin;
  begin.mutable_target()->set_session_id("s");
  begin.mutable_target()->set_import_id("i");
  ASSERT_TRUE(writer->Write(begin));
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);  // though the client has not ended its side
  EXPECT_EQ(peer.service.rpcs().WaitFor(1).size(), 1u);
}

TEST(CalibrationStream, ResultsOfNamedTensorsAndAFusedRange) {
  Peer peer;
  const std::vector<float> q = {1, -2}, k = {5, 0}, v = {-7, 3};
  peer.Calibrate("s", View("q", q, 2), "a");
  peer.Calibrate("s", View("k", k, 2), "a");
  peer.Calibrate("s", View("v", v, 2), "a");
  const CalibrationQuery query{
      .tensors = {"v", "q"}, .ranges = true, .symmetric = false, .fused = true, .importance = true};
  EXPECT_EQ(ReasonOf(peer.client->GetCalibration("s", query).status()), reason::kCalibrationOpen);
  ASSERT_TRUE(peer.client->SealCalibration("s").ok());
  const auto results = peer.client->GetCalibration("s", query);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->tensors.size(), 2u);
  EXPECT_EQ(results->tensors[0].name, "v");
  EXPECT_THAT(results->tensors[0].min, ElementsAre(-7));
  EXPECT_THAT(results->tensors[0].absmax, ElementsAre(7));
  EXPECT_THAT(results->tensors[0].importance, ElementsAre((49 + 9) / 2.0));
  EXPECT_EQ(results->tensors[1].ranges.at(0).lowest, -2);
  EXPECT_EQ(results->tensors[1].ranges.at(0).highest, 1);
  EXPECT_EQ(results->fused_range->lowest, -7);
  EXPECT_EQ(results->fused_range->highest, 3);
}

class CalibratedQuantize : public ::testing::Test {
 protected:
  CalibratedQuantize() {
    peer_.Calibrate("s", View("w", values_, 256), "a");
    peer_.Calibrate("s", View("other", louder_, 256), "a");
    EXPECT_TRUE(peer_.client->SealCalibration("s").ok());
  }

  std::map<std::string, std::vector<std::byte>> Quantized(const SchemeRequest& scheme, const CallOptions& options) {
    const auto result = peer_.client->Quantize(View("w", values_, 256), scheme, options);
    EXPECT_TRUE(result.ok()) << result.status();
    std::map<std::string, std::vector<std::byte>> segments;
    if (!result.ok()) return segments;
    for (const Segment& segment : result->segments) segments[segment.name] = segment.bytes;
    return segments;
  }

  const std::vector<float> values_ = RandomFloats(5, 64 * 256);
  const std::vector<float> louder_ = std::vector<float>(256, 100.f);
  Peer peer_;
};

TEST_F(CalibratedQuantize, ASymmetricSchemeTakesTheLargestMagnitude) {
  const SchemeRequest scheme{"int8", {{"grouping", "tensor"}}};
  float amax = 0;
  for (const float value : values_) amax = std::max(amax, std::abs(value));
  EXPECT_EQ(Quantized(scheme, {.calibration = CalibrationReference{.session_id = "s"}}),
            Quantized(scheme, {.statistics = {.amax = amax}}));
}

TEST_F(CalibratedQuantize, AnAsymmetricSchemeTakesBothEnds) {
  const SchemeRequest scheme{"int8-asym", {{"grouping", "tensor"}}};
  const auto [min, max] = std::minmax_element(values_.begin(), values_.end());
  EXPECT_EQ(Quantized(scheme, {.calibration = CalibrationReference{.session_id = "s"}}),
            Quantized(scheme, {.statistics = {.min = *min, .max = *max}}));
}

TEST_F(CalibratedQuantize, AFusedSetSharesOneRange) {
  const SchemeRequest scheme{"ct-nvfp4", {}};
  EXPECT_EQ(Quantized(scheme, {.calibration = CalibrationReference{.session_id = "s", .tensors = {"w", "other"}}}),
            Quantized(scheme, {.statistics = {.amax = 100.f}}));
}

TEST_F(CalibratedQuantize, AMethodFindsANarrowerRange) {
  const SchemeRequest scheme{"int8", {{"grouping", "tensor"}}};
  const CalibrationReference reference{.session_id = "s", .method = "percentile", .percentile = 99};
  const auto range =
      peer_.client->GetCalibration("s", {.tensors = {"w"}, .ranges = true, .method = "percentile", .percentile = 99});
  ASSERT_TRUE(range.ok()) << range.status();
  const float amax = range->tensors.at(0).ranges.at(0).highest;
  EXPECT_EQ(Quantized(scheme, {.calibration = reference}), Quantized(scheme, {.statistics = {.amax = amax}}));
}

TEST_F(CalibratedQuantize, OtherSchemesRefuseIt) {
  const auto reason_of = [&](const SchemeRequest& scheme, const CallOptions& options) {
    return ReasonOf(peer_.client->Quantize(View("w", values_, 256), scheme, options).status());
  };
  const CallOptions by_session{.calibration = CalibrationReference{.session_id = "s"}};
  EXPECT_EQ(reason_of({"bnb-nf4", {}}, by_session), reason::kUnusedStatistic);
  CallOptions both = by_session;
  both.statistics.amax = 1;
  EXPECT_EQ(reason_of({"int8", {{"grouping", "tensor"}}}, both), reason::kUnusedStatistic);
  CallOptions unknown = by_session;
  unknown.calibration->tensors = {"nothing"};
  EXPECT_EQ(reason_of({"int8", {{"grouping", "tensor"}}}, unknown), reason::kUnknownTensor);
  CallOptions nonsense = by_session;
  nonsense.calibration->method = "guess";
  EXPECT_EQ(reason_of({"int8", {{"grouping", "tensor"}}}, nonsense), reason::kInvalidRangeRequest);
}

}  // namespace
}  // namespace quantd::testing
