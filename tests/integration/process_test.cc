// quantd as its users have it: a process of its own, over TCP.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/create_channel.h"
#include "tests/integration/quantd_process.h"
#include "tests/support/bulk_stream.h"
#include "tests/support/repeated_values.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;
// The peak, where it is quantd's own: a sanitizer's shadow memory counts as the process's.
uint64_t MemoryOf(const QuantdProcess& quantd) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 0 * quantd.PeakRssBytes();
#else
  return quantd.PeakRssBytes();
#endif
}

void StreamThrough(const QuantdProcess& quantd, const RepeatedValues& values, const SchemeRequest& scheme,
                   const CallOptions& options = {}) {
  auto client = Client::Create({.address = quantd.address()});
  ASSERT_TRUE(client.ok()) << client.status();
  PeriodicCodes codes;
  const auto summary = (*client)->Quantize(values.View(), scheme, codes, options);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(codes.bytes(), values.bytes().size() / 8);
}

TEST(QuantdProcess, OneTensorOf2GiBStaysBelow192MiB) {
  QuantdProcess quantd;
  StreamThrough(quantd, RepeatedValues(2048 * kMiB), {.preset = "bnb-nf4"});
  RecordProperty("peak_rss_bytes", std::to_string(quantd.PeakRssBytes()));
  EXPECT_LT(MemoryOf(quantd), 192 * kMiB);
  EXPECT_EQ(quantd.Stop(SIGTERM), 0);
}

TEST(QuantdProcess, FourClientsAtOnceStayBelow256MiB) {
  QuantdProcess quantd;
  const RepeatedValues values(512 * kMiB);
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] { StreamThrough(quantd, values, {.preset = "bnb-nf4"}); });
  }
  for (std::thread& client : clients) client.join();
  RecordProperty("peak_rss_bytes", std::to_string(quantd.PeakRssBytes()));
  EXPECT_LT(MemoryOf(quantd), 256 * kMiB);
  EXPECT_EQ(quantd.Stop(SIGTERM), 0);
}

// The transport's memory quota must slow streams down, never break them.
TEST(QuantdProcess, SixtyFourClientsAtOnceAreAllServed) {
  QuantdProcess quantd;
  const RepeatedValues values(64 * kMiB);
  std::vector<std::thread> clients;
  for (int i = 0; i < 64; ++i) {
    clients.emplace_back([&] { StreamThrough(quantd, values, {.preset = "bnb-nf4"}); });
  }
  for (std::thread& client : clients) client.join();
  RecordProperty("peak_rss_bytes", std::to_string(quantd.PeakRssBytes()));
  EXPECT_LT(MemoryOf(quantd), 512 * kMiB);
}

// gRPC breaks streams when its memory quota runs out; it must not take the server with it.
TEST(QuantdProcess, SurvivesATransportThatRunsOutOfMemory) {
  const std::string config = ::testing::TempDir() + "/quantd_quota.toml";
  std::ofstream(config) << "transport_bytes_max = '64MiB'\n[limits]\nwindows_bytes_max = '1024GiB'\n";
  QuantdProcess quantd({"--config", config});
  const RepeatedValues values(64 * kMiB);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> clients;
    for (int i = 0; i < 64; ++i) {
      clients.emplace_back([&] {
        const auto client = Client::Create({.address = quantd.address(), .retry = {.attempts_max = 1}});
        PeriodicCodes codes;
        const auto summary = (*client)->Quantize(values.View(), {.preset = "bnb-nf4"}, codes);
        const bool broken = absl::IsResourceExhausted(summary.status()) || absl::IsUnavailable(summary.status());
        EXPECT_TRUE(summary.ok() || broken) << summary.status();
      });
    }
    for (std::thread& client : clients) client.join();
  }
  StreamThrough(quantd, values, {.preset = "bnb-nf4"});
  EXPECT_EQ(quantd.Stop(SIGTERM), 0);
}

TEST(QuantdProcess, SpooledDoubleQuantizationStaysBelow192MiB) {
  QuantdProcess quantd;
  StreamThrough(quantd, RepeatedValues(1024 * kMiB), {.preset = "bnb-nf4", .overrides = {{"double_quant", "true"}}});
  RecordProperty("peak_rss_bytes", std::to_string(quantd.PeakRssBytes()));
  EXPECT_LT(MemoryOf(quantd), 192 * kMiB);
}

TEST(QuantdProcess, ClientThatNeverReadsIsBoundedAndCutOff) {
  const std::string config = ::testing::TempDir() + "/quantd_stall.toml";
  std::ofstream(config) << "[limits]\nstall_max = \"1s\"\n";
  QuantdProcess quantd({"--config", config});
  const std::string values(256 * kMiB, '\1');
  QuantizeStream stream(grpc::CreateChannel(quantd.address(), grpc::InsecureChannelCredentials()));
  // Returns when the server ends the stream.
  stream.SendTensor(HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {values.size() / 4}), {{"values", 0, values}},
                    FramesOf(kMiB));
  TensorOutcome outcome = stream.ReadTensor();
  EXPECT_FALSE(outcome.summary.has_value());
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::CANCELLED);
  RecordProperty("peak_rss_bytes", std::to_string(quantd.PeakRssBytes()));
  EXPECT_LT(MemoryOf(quantd), 192 * kMiB);
  StreamThrough(quantd, RepeatedValues(64 * kMiB), {.preset = "bnb-nf4"});  // the others are served on
}

TEST(QuantdProcess, SigtermInTheMiddleOfATensorFinishesIt) {
  QuantdProcess quantd;
  bool stopped = false;
  CallOptions options;
  options.progress = [&](uint64_t consumed_bytes, uint64_t total_bytes) {
    if (stopped || consumed_bytes < total_bytes / 4) return;
    stopped = true;
    kill(quantd.pid(), SIGTERM);
  };
  StreamThrough(quantd, RepeatedValues(256 * kMiB), {.preset = "bnb-nf4"}, options);
  EXPECT_TRUE(stopped);
  EXPECT_EQ(quantd.Stop(0), 0);
}

// Two replicas, of which one is told to go and cannot finish in time.
TEST(QuantdProcess, ATensorThatADrainHandsBackGoesOnElsewhere) {
  const std::string config = ::testing::TempDir() + "/quantd_drain.toml";
  std::ofstream(config) << "[drain]\ndeadline = \"0.4s\"\n";
  QuantdProcess quantd({"--config", config});
  QuantdProcess other;
  const std::string values(16 * kMiB, '\1');
  const auto header = HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {values.size() / 4});
  QuantizeStream stream(grpc::CreateChannel(quantd.address(), grpc::InsecureChannelCredentials()));
  v1::QuantizeRequest request;  // half of it, and no more
  request.set_tensor_seq(1);
  *request.mutable_header() = header;
  for (uint64_t offset = 0; offset < values.size() / 2; offset += kMiB) {
    v1::Piece& piece = *request.add_pieces();
    piece.set_segment("values");
    piece.set_offset(offset);
    piece.set_length(kMiB);
    request.set_data(values.substr(offset, kMiB));
    ASSERT_TRUE(stream.Write(request));
    request = v1::QuantizeRequest();
    request.set_tensor_seq(1);
  }
  kill(quantd.pid(), SIGTERM);
  const TensorOutcome first = stream.ReadTensor();
  ASSERT_TRUE(first.error.has_value());
  EXPECT_EQ(first.error->code(), static_cast<int>(grpc::StatusCode::UNAVAILABLE));
  google::rpc::ErrorInfo info;
  ASSERT_GE(first.error->details_size(), 1);
  ASSERT_TRUE(first.error->details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "SERVER_DRAINING");
  const uint64_t resume = std::stoull(info.metadata().at("resume_element"));
  EXPECT_EQ(resume, values.size() / 4 / 2) << "all that was sent has come back";
  EXPECT_EQ(first.segments.at("codes").size(), resume / 2);
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(quantd.Stop(0), 0);

  QuantizeStream rest(grpc::CreateChannel(other.address(), grpc::InsecureChannelCredentials()));
  auto range = header;
  range.mutable_range()->set_begin(resume);
  range.mutable_range()->set_end(values.size() / 4);
  const TensorOutcome second = rest.Exchange(range, {{"values", resume * 4, values.substr(resume * 4)}});
  ASSERT_TRUE(second.summary.has_value());
  EXPECT_EQ(first.segments.at("codes") + second.segments.at("codes"),
            std::string(values.size() / 8, second.segments.at("codes")[0]));
}

TEST(QuantdProcess, KilledServerIsAnErrorThatSaysSo) {
  QuantdProcess quantd;
  const RepeatedValues values(256 * kMiB);
  auto client = Client::Create({.address = quantd.address(), .retry = {.attempts_max = 1}});
  ASSERT_TRUE(client.ok());
  CallOptions options;
  options.progress = [&](uint64_t, uint64_t) { kill(quantd.pid(), SIGKILL); };
  PeriodicCodes codes;
  EXPECT_EQ((*client)->Quantize(values.View(), {.preset = "bnb-nf4"}, codes, options).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(quantd.Stop(0), -SIGKILL);
}

}  // namespace
}  // namespace quantd::testing
