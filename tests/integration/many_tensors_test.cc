// Many tensors in one call of the client: small ones share streams, each keeps its own result.
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "grpc/grpc.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/cutting_proxy.h"
#include "tests/support/tensor_runner.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

class ManyTensors : public ::testing::Test {
 protected:
  // gRPC 1.51 stays up between the tests: going down, it may wait 10 s for a poller that cut connections have left.
  static void SetUpTestSuite() { grpc_init(); }

  static std::unique_ptr<Client> ClientOf(const std::string& address, uint32_t connections_max) {
    auto client = Client::Create(
        {.address = address,
         .retry = {.attempts_max = 50, .first_backoff = absl::Milliseconds(1), .backoff_max = absl::Milliseconds(20)},
         .connections_max = connections_max,
         .part_bytes_min = 1 << 20});
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // Of `count` tensors, some of no elements, some too large for a frame before Accept, one large enough to run alone.
  void MakeTensors(size_t count) {
    std::mt19937 random(5);
    values_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const size_t elements = i % 97 == 96 ? 300'000 : i % 31 == 30 ? 90'000 : random() % 1500;
      values_[i].resize(elements);
      for (float& value : values_[i]) value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f;
      tensors_.push_back({absl::StrCat("t", i), DataType::kFloat32, {elements}, BytesView(values_[i])});
    }
  }
  static std::span<const std::byte> BytesView(const std::vector<float>& values) {
    return std::as_bytes(std::span(values));
  }

  static void ExpectEqual(const QuantizedTensor& actual, const QuantizedTensor& expected) {
    EXPECT_EQ(actual.name, expected.name);
    EXPECT_EQ(actual.shape, expected.shape);
    EXPECT_EQ(actual.summary.amax, expected.summary.amax);
    ASSERT_EQ(actual.segments.size(), expected.segments.size());
    for (size_t i = 0; i < actual.segments.size(); ++i) {
      EXPECT_EQ(actual.segments[i].name, expected.segments[i].name);
      EXPECT_TRUE(actual.segments[i].bytes == expected.segments[i].bytes) << actual.name;
    }
  }

  void ExpectAllAsAlone(Client& client, const CallOptions& options = {}) {
    const auto results = client.QuantizeAll(tensors_, {.preset = "bnb-nf4"}, options);
    ASSERT_EQ(results.size(), tensors_.size());
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_TRUE(results[i].ok()) << i << ": " << results[i].status();
      const auto alone = quiet_->Quantize(tensors_[i], {.preset = "bnb-nf4"});
      ASSERT_TRUE(alone.ok()) << alone.status();
      ExpectEqual(*results[i], *alone);
    }
  }

  TestService service_;
  std::unique_ptr<Client> quiet_ = ClientOf(service_.tcp_address(), 1);
  std::vector<std::vector<float>> values_;
  std::vector<TensorView> tensors_;
};

TEST_F(ManyTensors, HaveTheResultsThatEachHasAlone) {
  MakeTensors(300);
  uint64_t total_bytes = 0;
  for (const TensorView& tensor : tensors_) total_bytes += tensor.values.size();
  for (const uint32_t connections : {1u, 4u}) {
    uint64_t reported_bytes = 0;
    ExpectAllAsAlone(*ClientOf(service_.tcp_address(), connections), {.progress = [&](uint64_t done, uint64_t total) {
      EXPECT_GE(done, reported_bytes);
      EXPECT_EQ(total, total_bytes);
      reported_bytes = done;
    }});
    EXPECT_EQ(reported_bytes, total_bytes);
  }
}

TEST_F(ManyTensors, ShareOneStream) {
  values_.resize(200, std::vector<float>(1024, 0.5f));
  for (const auto& values : values_) tensors_.push_back({"w", DataType::kFloat32, {1024}, BytesView(values)});
  for (const auto& result : quiet_->QuantizeAll(tensors_, {.preset = "bnb-nf4"})) {
    EXPECT_TRUE(result.ok()) << result.status();
  }
  const auto records = service_.rpcs().WaitFor(1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].tensors_done, 200u);
}

TEST_F(ManyTensors, AreNoneWithoutAStream) {
  EXPECT_TRUE(quiet_->QuantizeAll({}, {.preset = "bnb-nf4"}).empty());
  EXPECT_TRUE(quiet_->DequantizeAll({}, DataType::kFloat32).empty());
}

TEST_F(ManyTensors, FailEachForItself) {
  MakeTensors(40);
  for (const size_t i : {0, 7, 30, 39}) tensors_[i].dtype = DataType::kInt8;  // 30 is more than one frame
  const auto results = quiet_->QuantizeAll(tensors_, {.preset = "bnb-nf4"});
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].ok(), tensors_[i].dtype == DataType::kFloat32) << i << ": " << results[i].status();
  }
}

TEST_F(ManyTensors, FailEachForItselfWhereTheServerRefusesThem) {
  MakeTensors(40);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    values_[i].resize(i == 30 ? 90'112 : 256);
    tensors_[i].values = BytesView(values_[i]);
    tensors_[i].shape = {values_[i].size() / 128, 128};
  }
  for (const size_t i : {0, 7, 30, 39}) tensors_[i].shape = {values_[i].size()};  // no rows of whole groups
  for (const size_t i : {0, 7, 30, 39}) tensors_[i].shape.push_back(1);
  const auto results = quiet_->QuantizeAll(tensors_, {.preset = "ct-w4a16"});
  for (size_t i = 0; i < results.size(); ++i) {
    if (tensors_[i].shape[1] == 128) {
      EXPECT_TRUE(results[i].ok()) << i << ": " << results[i].status();
    } else {
      EXPECT_EQ(DetailsOf(results[i].status()).reason, reason::kInvalidShape) << i << ": " << results[i].status();
    }
  }
}

TEST_F(ManyTensors, ComeBackByDequantizeAll) {
  MakeTensors(100);
  std::vector<QuantizedTensor> quantized;
  std::vector<QuantizedTensorView> views;
  for (auto& result : quiet_->QuantizeAll(tensors_, {.preset = "bnb-nf4"})) quantized.push_back(*std::move(result));
  for (const QuantizedTensor& tensor : quantized) views.push_back(tensor.View());
  const auto back = quiet_->DequantizeAll(views, DataType::kBFloat16);
  ASSERT_EQ(back.size(), views.size());
  for (size_t i = 0; i < back.size(); ++i) {
    ASSERT_TRUE(back[i].ok()) << back[i].status();
    const auto alone = quiet_->Dequantize(views[i], DataType::kBFloat16);
    ASSERT_TRUE(alone.ok()) << alone.status();
    EXPECT_TRUE(back[i]->values == alone->values) << i;
  }
}

TEST_F(ManyTensors, SurviveBrokenConnections) {
  MakeTensors(300);
  std::mt19937_64 random = MakeRandom(20);
  std::atomic<int> cuts_left = 20;
  const CuttingProxy proxy(service_.tcp_address(), [&]() -> std::optional<uint64_t> {
    if (cuts_left == 0) return std::nullopt;
    --cuts_left;
    return 1 + random() % (1 << 20);
  });
  ExpectAllAsAlone(*ClientOf(proxy.address(), 1));
  EXPECT_EQ(cuts_left, 0);
}

TEST_F(ManyTensors, AllFailWhenTheyAreCancelled) {
  MakeTensors(50);
  CancelToken cancel;
  cancel.Cancel();
  for (const auto& result : quiet_->QuantizeAll(tensors_, {.preset = "bnb-nf4"}, {.cancel = &cancel})) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled) << result.status();
  }
}

}  // namespace
}  // namespace quantd::testing
