// The statistics' loops beside a pure read of the same values, alternately in one run, as a table. `share` is the
// read's time over the statistics': 1 is the memory's speed.
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "kernels/calibrate/calibration_file.h"
#include "kernels/calibrate/tensor_statistics.h"
#include "kernels/format/value_types.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kColumns = 4096;
constexpr int kRounds = 9;

struct Collected {
  std::string name;
  std::map<std::string, std::string> fields;
};
const Collected kCollected[] = {
    {"tensor/range", {{"collect", "range"}}},
    {"tensor/distribution", {}},
    {"channel/range", {{"grouping", "channel"}}},
    {"row/range", {{"grouping", "channel"}, {"axis", "0"}}},
    {"group128/range", {{"grouping", "group"}, {"group_size", "128"}}},
    {"channel/importance", {{"grouping", "channel"}, {"collect", "importance"}}},
};
const std::string kDataKinds[] = {"normal", "zeros"};

// Processor time, because what else runs on the machine is not the kernel's fault.
double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class Function>
double SecondsOf(uint64_t repetitions, const Function& function) {
  const double begin = ThreadSeconds();
  for (uint64_t i = 0; i < repetitions; ++i) {
    function();
    asm volatile("" ::: "memory");
  }
  return (ThreadSeconds() - begin) / static_cast<double>(repetitions);
}

double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

// Nothing but loads: as wide as the compiler's baseline has them, four at a time, which is what the memory gives.
void PureRead(std::span<const std::byte> bytes) {
  __m128i parts[8] = {};
  for (size_t i = 0; i + 128 <= bytes.size(); i += 128) {
    for (size_t k = 0; k < 8; ++k) {
      parts[k] = _mm_or_si128(parts[k], _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + i + 16 * k)));
    }
  }
  for (const __m128i& part : parts) asm volatile("" : : "x"(part));
}

// As aligned as a server's slots.
struct alignas(4096) Page {
  std::byte bytes[4096];
};

std::vector<Page> Values(const std::string& kind, DataType dtype, uint64_t bytes) {
  std::vector<Page> pages(bytes / sizeof(Page));
  std::byte* const values = pages[0].bytes;
  if (kind == "zeros") return pages;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  WithValues(dtype, [&]<class Type>(Type) {
    // A stretch that no cache remembers, repeated.
    const uint64_t period = std::min<uint64_t>(bytes, 4 << 20);
    for (uint64_t i = 0; i < period; i += sizeof(typename Type::Bits)) {
      StoreUnaligned(values + i, Type::Narrow(normal(random)));
    }
    for (uint64_t i = period; i < bytes; i += period) std::memcpy(values + i, values, std::min(period, bytes - i));
  });
  return pages;
}

bool MeasureRow(const Collected& collected, const std::string& kind, DataType dtype, const CountKernels& kernels,
                uint64_t bytes) {
  const std::vector<Page> pages = Values(kind, dtype, bytes);
  const std::span<const std::byte> values(pages[0].bytes, bytes);
  const StatisticsConfig config = *ParseStatisticsConfig(collected.fields);
  const uint64_t shape[] = {bytes / SizeBytes(dtype) / kColumns, kColumns};
  TensorStatistics statistics = *TensorStatistics::Make(config, dtype, shape);
  const uint64_t repetitions = std::max<uint64_t>(1, (64 << 20) / bytes);
  std::vector<double> read;
  std::vector<double> count;
  for (int round = 0; round < kRounds; ++round) {
    read.push_back(SecondsOf(repetitions, [&] { PureRead(values); }));
    count.push_back(SecondsOf(repetitions, [&] { statistics.Add(0, values, kernels); }));
  }
  const auto once = [&](const CountKernels& with) {
    TensorStatistics counted = *TensorStatistics::Make(config, dtype, shape);
    counted.Add(0, values, with);
    return ToQcal({config, {{"tensor", counted}}});
  };
  const bool correct = once(kernels) == once(kBaselineCountKernels);
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  std::printf("| %s | %s | %s | %s | %lu MiB | %.2f | %.2f | %.2f |%s\n", collected.name.c_str(),
              std::string(InfoOf(dtype).name).c_str(), kind.c_str(), std::string(kernels.target).c_str(),
              static_cast<unsigned long>(bytes >> 20), gigabytes / Median(count), gigabytes / Median(read),
              Median(read) / Median(count), correct ? "" : " WRONG");
  std::fflush(stdout);
  return correct;
}

bool MeasureAll(const std::regex& filter, const std::vector<uint64_t>& sizes) {
  std::printf("| collected | type | values | target | size | values GB/s | read GB/s | share |\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  bool correct = true;
  for (const CountKernels* const kernels : SupportedCountKernels()) {
    for (const Collected& collected : kCollected) {
      for (const DataType dtype : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
        for (const std::string& kind : kDataKinds) {
          for (const uint64_t bytes : sizes) {
            const std::string name = collected.name + "/" + std::string(InfoOf(dtype).name) + "/" + kind + "/" +
                                     std::string(kernels->target);
            if (std::regex_search(name, filter)) {
              correct = MeasureRow(collected, kind, dtype, *kernels, bytes) && correct;
            }
          }
        }
      }
    }
  }
  return correct;
}

}  // namespace
}  // namespace quantd::testing

int main(int argc, char** argv) {
  std::string filter;
  std::vector<uint64_t> sizes = {1 << 20, 256 << 20};  // as a server's slot, and beyond the caches
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--filter=")) {
      filter = argument.substr(9);
    } else if (argument.starts_with("--mib=") && std::atoi(argv[i] + 6) > 0) {
      sizes = {static_cast<uint64_t>(std::atoi(argv[i] + 6)) << 20};
    } else {
      std::fprintf(stderr,
                   "usage: %s [--filter=REGEX] [--mib=SIZE]\n"
                   "REGEX is searched for in names such as tensor/distribution/bfloat16/normal/avx2\n",
                   argv[0]);
      return 2;
    }
  }
  return quantd::testing::MeasureAll(std::regex(filter), sizes) ? 0 : 1;
}
