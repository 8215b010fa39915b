// Statistics counted on the GPU are those counted on the CPU: the same .qcal bytes.
#include "kernels/cuda/device_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/calibrate/calibrate_data.h"

namespace quantd {
namespace {

class DeviceStatisticsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (CudaDeviceCount() == 0) GTEST_SKIP() << "this machine has no GPU that CUDA sees";
    stream_ = Stream::Make().value();
  }

  // Counted in parts of at most `part` elements, whose memory begins `shift` elements behind an aligned address.
  TensorStatistics OnGpu(const StatisticsConfig& config, DataType dtype, const Shape& shape, const Bytes& bytes,
                         uint64_t part = ~0ull, uint64_t shift = 0) {
    const uint64_t value_bytes = SizeBytes(dtype);
    EXPECT_TRUE(memory_.Reserve(bytes.size() + shift * value_bytes + 16).ok());
    std::byte* const values = memory_.data() + shift * value_bytes;
    cudaMemcpy(values, bytes.data(), bytes.size(), cudaMemcpyHostToDevice);
    DeviceStatistics statistics = DeviceStatistics::Make(config, dtype, shape, stream_.get()).value();
    for (uint64_t begin = 0; begin < ElementsOf(shape); begin += part) {
      const uint64_t count = std::min(part, ElementsOf(shape) - begin);
      EXPECT_TRUE(statistics.Add(begin, values + begin * value_bytes, count).ok());
      if (count < part) break;
    }
    return statistics.Take().value();
  }

  Stream stream_;
  DeviceBuffer memory_;
};

std::vector<Case> CasesOfTheGpu() {
  std::vector<Case> cases;
  for (const Case& each : kCases) {
    if (Config(each.fields).collection != StatisticsCollection::kImportance) cases.push_back(each);
  }
  const auto add = [&](std::map<std::string, std::string> fields, Shape shape) { cases.push_back({fields, shape}); };
  add({{"grouping", "tensor"}}, {300, 1001});
  add({{"grouping", "tensor"}, {"collect", "range"}}, {300, 1001});
  for (const char* const size : {"8", "16", "32", "64", "128", "256", "1024"}) {
    add({{"grouping", "group"}, {"group_size", size}}, {64, 2048});
  }
  add({{"grouping", "channel"}, {"axis", "0"}}, {70, 4096});
  add({{"grouping", "channel"}, {"axis", "-1"}}, {333, 4096});
  add({{"grouping", "channel"}, {"axis", "-1"}, {"group_size", "4"}}, {50, 1000});
  add({{"grouping", "channel"}, {"axis", "1"}}, {9, 64, 100});
  return cases;
}

Bytes ValuesOf(const std::string& kind, DataType dtype, uint64_t count) {
  if (kind == "any") return AnyPatterns(dtype, count, 5);
  std::vector<float> values = Normal(count, 7);
  for (uint64_t i = 0; i < count; ++i) {
    if (kind == "relu") values[i] = std::max(values[i], 0.0f);
    if (kind == "equal") values[i] = 1.5f;
    if (kind == "negative") values[i] = -1e-30f - std::abs(values[i]);
    if (kind == "one infinity" && i == count / 2) values[i] = kInfinity;
  }
  return BytesOf(dtype, values);
}

TEST_F(DeviceStatisticsTest, TheBytesOfTheFileAreTheCpus) {
  for (const Case& each : CasesOfTheGpu()) {
    const StatisticsConfig config = Config(each.fields);
    for (const DataType dtype : kFloatTypes) {
      for (const char* const kind : {"normal", "any", "relu", "equal", "negative", "one infinity"}) {
        SCOPED_TRACE(::testing::PrintToString(each.fields) + ::testing::PrintToString(each.shape) +
                     std::string(InfoOf(dtype).name) + " " + kind);
        const Bytes values = ValuesOf(kind, dtype, ElementsOf(each.shape));
        EXPECT_EQ(Qcal(OnGpu(config, dtype, each.shape, values)),
                  Qcal(StatisticsOf(config, dtype, each.shape, values)));
      }
    }
  }
}

TEST_F(DeviceStatisticsTest, AnyCutAndAnyPlaceInMemoryGiveTheSame) {
  for (const Case& each : CasesOfTheGpu()) {
    const StatisticsConfig config = Config(each.fields);
    for (const DataType dtype : kFloatTypes) {
      SCOPED_TRACE(::testing::PrintToString(each.fields) + ::testing::PrintToString(each.shape));
      const Bytes values = AnyPatterns(dtype, ElementsOf(each.shape), 11);
      const Bytes expected = Qcal(StatisticsOf(config, dtype, each.shape, values));
      const uint64_t some = std::max<uint64_t>(ElementsOf(each.shape) / 3 + 1, 1);
      EXPECT_EQ(Qcal(OnGpu(config, dtype, each.shape, values, some, 0)), expected);
      EXPECT_EQ(Qcal(OnGpu(config, dtype, each.shape, values, ~0ull, 3)), expected);
      EXPECT_EQ(Qcal(OnGpu(config, dtype, each.shape, values, some, 1)), expected);
    }
  }
}

TEST_F(DeviceStatisticsTest, SumsOfLowerBitsMayWrapTheCountersOfAMultiprocessor) {
  // One pattern, whose lower bits are all set: 65,537 of them are more than 32 bits.
  const Shape shape = {40'000'000};
  const Bytes values = BytesOf(DataType::kFloat32, std::vector<float>(shape[0], std::bit_cast<float>(0x3fc0ffffu)));
  EXPECT_EQ(Qcal(OnGpu({}, DataType::kFloat32, shape, values)),
            Qcal(StatisticsOf({}, DataType::kFloat32, shape, values)));
}

TEST_F(DeviceStatisticsTest, SumsOfSquaresOfBucketsAreLeftToTheCpu) {
  const StatisticsConfig config = Config({{"grouping", "tensor"}, {"collect", "importance"}});
  EXPECT_TRUE(absl::IsUnimplemented(
      DeviceStatistics::Make(config, DataType::kFloat32, std::vector<uint64_t>{4}, stream_.get()).status()));
}

}  // namespace
}  // namespace quantd
