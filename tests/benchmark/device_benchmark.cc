// Every scheme's kernels on values in device memory beside a device copy in the same run, as a table. `share` is their
// bytes per second, read and written, over those of the faster copy: 1 is the memory's speed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <regex>

#include "kernels/cuda/cuda_backend.h"
#include "tests/benchmark/device_copy.h"
#include "tests/benchmark/device_timer.h"
#include "tests/benchmark/device_workload.h"

namespace quantd::testing {
namespace {

struct Options {
  std::regex filter{""};
  std::vector<uint64_t> mib = {64, 1024};  // of values
  std::vector<DataType> dtypes = {DataType::kBFloat16, DataType::kFloat32};
  CudaKernels kernels = CudaKernels::kFused;
  int rounds = 21;
};

struct Named {
  std::string name;
  DeviceScheme scheme;
};

std::vector<Named> Schemes() {
  const KnownStatistics amax{.amax = 8};
  const KnownStatistics offset{.offset = 2};
  const auto group = [](const char* size) {
    return std::map<std::string, std::string>{{"grouping", "group"}, {"group_size", size}};
  };
  return {
      {"bnb-nf4 block 64", {{"bnb-nf4", {}, 0}, {}}},
      {"bnb-fp4 block 64", {{"bnb-fp4", {}, 0}, {}}},
      {"nf4 block 64", {{"nf4", {}, 0}, {}}},
      {"bnb-nf4 block 4096", {{"bnb-nf4", {{"block_size", "4096"}}, 0}, {}}},
      {"bnb-nf4 double", {{"bnb-nf4", {{"double_quant", "true"}}, 0}, offset}},
      {"int8 group 128", {{"int8", group("128"), 0}, {}}},
      {"int4 group 128", {{"int4", {}, 0}, {}}},
      {"int4-asym group 128", {{"int4-asym", {}, 0}, {}}},
      {"ct-w4a16 group 128", {{"ct-w4a16", {}, 0}, {}}},
      {"ct-w4a16-asym group 128", {{"ct-w4a16-asym", {}, 0}, {}}},
      {"ct-w8a16 group 128", {{"ct-w8a16", {}, 0}, {}}},
      {"fp8-e4m3 group 128", {{"fp8-e4m3", group("128"), 0}, {}}},
      {"mxfp8-e4m3", {{"mxfp8-e4m3", {}, 0}, {}}},
      {"ct-mxfp8", {{"ct-mxfp8", {}, 0}, {}}},
      {"mxfp4", {{"mxfp4", {}, 0}, {}}},
      {"ct-mxfp4", {{"ct-mxfp4", {}, 0}, {}}},
      {"ct-nvfp4, amax given", {{"ct-nvfp4", {}, 0}, amax}},
      {"fp4-e2m1 block 64", {{"fp4-e2m1", {}, 0}, {}}},
      {"int8 rows of 4096", {{"int8", {}, 0}, {}}},
      {"int8 rows of 8192", {{"int8", {}, 0}, {}, 8192}},
      {"ct-w8a8 rows of 8192", {{"ct-w8a8", {}, 0}, {}, 8192}},
      {"ct-fp8-dynamic rows of 4096", {{"ct-fp8-dynamic", {}, 0}, {}}},
      {"ct-fp8-dynamic rows of 8192", {{"ct-fp8-dynamic", {}, 0}, {}, 8192}},
      {"bnb-int8 rows of 4096", {{"bnb-int8", {}, 0}, {}}},
      {"bnb-int8 rows of 8192", {{"bnb-int8", {}, 0}, {}, 8192}},
      {"bnb-dynamic8 block 256", {{"bnb-dynamic8", {}, 0}, {}}},
      {"ct-fp8-block 128x128", {{"ct-fp8-block", {}, 0}, {}}},
      {"ct-fp8, amax given", {{"ct-fp8", {}, 0}, amax}},
      {"ct-fp8, two passes", {{"ct-fp8", {}, 0}, {}}},
      {"ct-nvfp4, two passes", {{"ct-nvfp4", {}, 0}, {}}},
  };
}

// Bytes per second, read and written, of the faster way; prints both.
double CopyRate(const Options& options, uint64_t bytes, uint32_t tensors, cudaStream_t stream) {
  DeviceBuffer memory;
  if (!memory.Reserve(2 * bytes * tensors).ok()) throw std::runtime_error("not enough memory for a copy");
  const auto each = [&](const auto& copy) {
    for (uint32_t i = 0; i < tensors; ++i) copy(memory.data() + 2 * i * bytes, memory.data() + (2 * i + 1) * bytes);
  };
  const double total = 2.0 * static_cast<double>(bytes) * tensors;
  const double driver = total / SecondsOf(options.rounds, stream, [&] {
                          each([&](std::byte* to, std::byte* from) {
                            Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
                          });
                        });
  const double kernel = total / SecondsOf(options.rounds, stream, [&] {
                          each([&](std::byte* to, std::byte* from) { LaunchVectorCopy(to, from, bytes, stream); });
                        });
  std::printf("\ncopies of %llu MiB: cudaMemcpyAsync %.0f GB/s, a kernel of 16-byte loads %.0f GB/s\n\n",
              static_cast<unsigned long long>(bytes >> 20), driver * 1e-9, kernel * 1e-9);
  return std::max(driver, kernel);
}

bool MeasureSize(const Options& options, uint64_t mib, cudaStream_t stream) {
  // Together more than any cache.
  constexpr uint64_t kMibTogether = 256;
  const auto tensors = static_cast<uint32_t>(std::max<uint64_t>(1, kMibTogether / mib));
  const double copy = CopyRate(options, mib << 20, tensors, stream);
  bool all_right = true;
  std::printf(
      "| scheme, %llu MiB | values | quantize GB/s | share | dequantize GB/s | share | bytes "
      "|\n|---|---|---|---|---|---|---|\n",
      static_cast<unsigned long long>(mib));
  for (const auto& [name, scheme] : Schemes()) {
    for (const DataType dtype : options.dtypes) {
      const std::string type(InfoOf(dtype).name);
      if (!std::regex_search(name + "/" + type, options.filter)) continue;
      DeviceWorkload workload(scheme, dtype, mib << 20, tensors, options.kernels, stream);
      const double quantize = static_cast<double>(workload.QuantizeBytes()) * tensors /
                              SecondsOf(options.rounds, stream, [&] { workload.Quantize(); });
      const double dequantize = static_cast<double>(workload.DequantizeBytes()) * tensors /
                                SecondsOf(options.rounds, stream, [&] { workload.Dequantize(); });
      const bool right = workload.QuantizedRight() && workload.DequantizedRight();
      all_right = all_right && right;
      std::printf("| %s | %s | %.0f | %.3f | %.0f | %.3f | %s |\n", name.c_str(), type.c_str(), quantize * 1e-9,
                  quantize / copy, dequantize * 1e-9, dequantize / copy, right ? "equal" : "**DIFFERENT**");
      std::fflush(stdout);
    }
  }
  return all_right;
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string value = argument.substr(argument.find('=') + 1);
    if (argument.starts_with("--filter=")) {
      options.filter = std::regex(value);
    } else if (argument.starts_with("--mib=")) {
      options.mib = {std::strtoull(value.c_str(), nullptr, 10)};
    } else if (argument.starts_with("--rounds=")) {
      options.rounds = std::max(1, std::atoi(value.c_str()));
    } else if (argument == "--generic") {
      options.kernels = CudaKernels::kGeneric;
    } else {
      std::fprintf(stderr, "usage: device_benchmark [--filter=REGEX] [--mib=SIZE] [--rounds=COUNT] [--generic]\n");
      return 2;
    }
  }
  if (CudaDeviceCount() == 0) {
    std::fprintf(stderr, "device_benchmark: no GPU\n");
    return 1;
  }
  cudaDeviceProp properties{};
  Check(cudaGetDeviceProperties(&properties, 0));
  std::printf("%s, %d multiprocessors, medians of %d\n", properties.name, properties.multiProcessorCount,
              options.rounds);
  const auto stream = Stream::Make();
  if (!stream.ok()) throw std::runtime_error(stream.status().ToString());
  bool all_right = true;
  for (const uint64_t mib : options.mib) all_right = MeasureSize(options, mib, stream->get()) && all_right;
  return all_right ? 0 : 1;
}

}  // namespace
}  // namespace quantd::testing

int main(int argc, char** argv) {
  try {
    return quantd::testing::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_benchmark: %s\n", error.what());
    return 1;
  }
}
