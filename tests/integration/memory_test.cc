// The memory of a quantd that works for long, from outside. DISABLED_ ones take half a minute and more each; they are
// run by hand, and docs/benchmarks.md has what they found.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "grpcpp/create_channel.h"
#include "tests/integration/quantd_process.h"
#include "tests/support/bulk_stream.h"
#include "tests/support/repeated_values.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// A sanitizer's shadow memory counts as the process's.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsQuantds = false;
#else
constexpr bool kMemoryIsQuantds = true;
#endif

void ExpectPeakBelow(const QuantdProcess& quantd, uint64_t bytes) {
  std::printf("peak %.1f MiB\n", static_cast<double>(quantd.PeakRssBytes()) / kMiB);
  if (kMemoryIsQuantds) {
    EXPECT_LT(quantd.PeakRssBytes(), bytes);
  }
}

std::unique_ptr<Client> ClientOf(const QuantdProcess& quantd) {
  auto client = Client::Create({.address = quantd.address()});
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

void StreamThrough(Client& client, const RepeatedValues& values, const SchemeRequest& scheme,
                   const CallOptions& options = {}) {
  PeriodicCodes codes;
  const auto summary = client.Quantize(values.View(), scheme, codes, options);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(codes.bytes(), values.bytes().size() / 8);
}

// `count` tensors of 4 KiB, pipelined.
void QuantizeSmallOnes(Client& client, size_t count) {
  const std::vector<float> values(1024, 0.25f);
  const std::vector<TensorView> tensors(count, {"small", DataType::kFloat32, {1024}, std::as_bytes(std::span(values))});
  for (const auto& result : client.QuantizeAll(tensors, {.preset = "bnb-nf4"})) {
    ASSERT_TRUE(result.ok()) << result.status();
  }
}

TEST(Memory, DISABLED_OfATensorOf8GiBStaysBelow192MiB) {
  QuantdProcess quantd;
  StreamThrough(*ClientOf(quantd), RepeatedValues(8192 * kMiB),
                {.preset = "bnb-nf4", .overrides = {{"double_quant", "true"}}}, {.statistics = {.offset = 1.0f}});
  ExpectPeakBelow(quantd, 192 * kMiB);
  EXPECT_EQ(quantd.Stop(SIGTERM), 0);
}

TEST(Memory, Of64IdleAnd16ActiveStreamsStaysBelow512MiB) {
  QuantdProcess quantd;
  std::vector<std::unique_ptr<QuantizeStream>> idle;
  for (int i = 0; i < 64; ++i) {
    idle.push_back(
        std::make_unique<QuantizeStream>(grpc::CreateChannel(quantd.address(), grpc::InsecureChannelCredentials())));
    v1::QuantizeRequest begin;  // a tensor that never ends
    begin.set_tensor_seq(1);
    *begin.mutable_header() = HeaderOf("bnb-nf4", v1::DATA_TYPE_FLOAT32, {64 * kMiB});
    ASSERT_TRUE(idle.back()->Write(begin));
  }
  const RepeatedValues values(64 * kMiB);
  std::vector<std::thread> active;
  for (int i = 0; i < 16; ++i) {
    active.emplace_back([&] { StreamThrough(*ClientOf(quantd), values, {.preset = "bnb-nf4"}); });
  }
  for (std::thread& client : active) client.join();
  ExpectPeakBelow(quantd, 512 * kMiB);
  idle.clear();
  EXPECT_EQ(quantd.Stop(SIGTERM), 0);
}

// A tensor's values are 4 KiB, so a lost one would show; heaps grow in steps of some MiB.
TEST(Memory, OfManySmallTensorsDoesNotGrowWithThem) {
  QuantdProcess quantd;
  const std::unique_ptr<Client> client = ClientOf(quantd);
  QuantizeSmallOnes(*client, 5000);
  const uint64_t before = quantd.RssBytes();
  QuantizeSmallOnes(*client, 10'000);
  if (kMemoryIsQuantds) {
    EXPECT_LT(quantd.RssBytes(), before + 16 * kMiB);
  }
  EXPECT_EQ(quantd.Stop(SIGTERM), 0);
}

TEST(Memory, DISABLED_HasNoSlopeOver400000Tensors) {
  QuantdProcess quantd;
  const std::unique_ptr<Client> client = ClientOf(quantd);
  uint64_t half = 0;
  for (int i = 1; i <= 40; ++i) {
    QuantizeSmallOnes(*client, 10'000);
    std::printf("%d tensors: %.1f MiB\n", i * 10'000, static_cast<double>(quantd.RssBytes()) / kMiB);
    if (i == 20) half = quantd.RssBytes();
  }
  if (kMemoryIsQuantds) {
    EXPECT_LT(quantd.RssBytes(), half + 8 * kMiB);
  }
  EXPECT_EQ(quantd.Stop(SIGTERM), 0);
}

}  // namespace
}  // namespace quantd::testing
