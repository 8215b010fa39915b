// Statistics of values in device memory beside a kernel that only reads them, as a table. `share` is its time over
// theirs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/calibrate/calibration_file.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_statistics.h"
#include "tests/benchmark/device_copy.h"
#include "tests/benchmark/device_timer.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kColumns = 4096;
constexpr uint64_t kVerifiedRows = 1024;

template <class T>
T OrThrow(absl::StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *std::move(result);
}
void OrThrow(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

struct Named {
  const char* name;
  std::map<std::string, std::string> fields;
};
const Named kStatistics[] = {
    {"range of the tensor", {{"grouping", "tensor"}, {"collect", "range"}}},
    {"range of columns", {{"grouping", "channel"}, {"axis", "-1"}}},
    {"range of rows", {{"grouping", "channel"}, {"axis", "0"}}},
    {"range of groups of 128", {{"grouping", "group"}, {"group_size", "128"}}},
    {"range and distribution", {{"grouping", "tensor"}}},
};

// The .qcal bytes of the first rows are the CPU's.
bool IsRight(const StatisticsConfig& config, DataType dtype, const std::byte* values, cudaStream_t stream) {
  const std::vector<uint64_t> shape = {kVerifiedRows, kColumns};
  const uint64_t count = kVerifiedRows * kColumns;
  std::vector<std::byte> copied(count * SizeBytes(dtype));
  Check(cudaMemcpy(copied.data(), values, copied.size(), cudaMemcpyDeviceToHost));
  TensorStatistics expected = OrThrow(TensorStatistics::Make(config, dtype, shape));
  expected.Add(0, copied);
  expected.Compact();
  DeviceStatistics counted = OrThrow(DeviceStatistics::Make(config, dtype, shape, stream));
  OrThrow(counted.Add(0, values, count));
  return ToQcal({config, {{"tensor", OrThrow(counted.Take())}}}) == ToQcal({config, {{"tensor", expected}}});
}

int Main(int argc, char** argv) {
  const uint64_t mib = argc > 1 ? std::max(64ull, std::strtoull(argv[1], nullptr, 10)) : 1024;
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 11;
  if (CudaDeviceCount() == 0) {
    std::fprintf(stderr, "device_statistics_benchmark: no GPU\n");
    return 1;
  }
  cudaDeviceProp properties{};
  Check(cudaGetDeviceProperties(&properties, 0));
  const Stream stream = OrThrow(Stream::Make());
  const uint64_t bytes = mib << 20;
  DeviceBuffer values;
  DeviceBuffer unused;
  OrThrow(values.Reserve(bytes));
  OrThrow(unused.Reserve(1 << 20));
  const double read = static_cast<double>(bytes) / SecondsOf(rounds, stream.get(), [&] {
                        LaunchVectorRead(unused.data(), values.data(), bytes, stream.get());
                      });
  std::printf("%s, %llu MiB, medians of %d, reading only: %.0f GB/s\n\n", properties.name,
              static_cast<unsigned long long>(mib), rounds, read * 1e-9);
  std::printf("| statistics | values | GB/s | share | bytes |\n|---|---|---|---|---|\n");
  bool all_right = true;
  for (const DataType dtype : {DataType::kBFloat16, DataType::kFloat16, DataType::kFloat32}) {
    for (const bool zeros : {false, true}) {
      const uint64_t count = bytes / SizeBytes(dtype);
      if (zeros) {
        Check(cudaMemsetAsync(values.data(), 0, bytes, stream.get()));
      } else {
        LaunchNormalValues(values.data(), count, dtype, 7, stream.get());
      }
      for (const auto& [name, fields] : kStatistics) {
        const StatisticsConfig config = OrThrow(ParseStatisticsConfig(fields));
        if (zeros && config.collection != StatisticsCollection::kDistribution) continue;
        const std::vector<uint64_t> shape = {count / kColumns, kColumns};
        DeviceStatistics statistics = OrThrow(DeviceStatistics::Make(config, dtype, shape, stream.get()));
        const double rate = static_cast<double>(bytes) /
                            SecondsOf(rounds, stream.get(), [&] { OrThrow(statistics.Add(0, values.data(), count)); });
        const bool right = IsRight(config, dtype, values.data(), stream.get());
        all_right = all_right && right;
        std::printf("| %s%s | %s | %.0f | %.3f | %s |\n", name, zeros ? ", zeros" : "",
                    std::string(InfoOf(dtype).name).c_str(), rate * 1e-9, rate / read,
                    right ? "equal" : "**DIFFERENT**");
        std::fflush(stdout);
      }
    }
  }
  return all_right ? 0 : 1;
}

}  // namespace
}  // namespace quantd::testing

int main(int argc, char** argv) {
  try {
    return quantd::testing::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_statistics_benchmark: %s\n", error.what());
    return 1;
  }
}
