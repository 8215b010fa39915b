// Every preset's kernels beside a shaped copy, alternately in one run, as a table. `share` is the copy's time over the
// kernel's: 1 is the memory's speed.
#include <time.h>

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <regex>
#include <thread>

#include "kernels/cpu/cpu_backend.h"
#include "tests/benchmark/kernel_workload.h"

namespace quantd::testing {
namespace {

struct Options {
  std::regex filter{""};
  std::vector<uint64_t> kib = {1 << 10, 128 << 10};  // of values: as a server's slot, and beyond the caches
  int rounds = 7;
  int cores = 1;
};

struct Times {
  double kernel_s = 0;
  double copy_s = 0;
};

// Processor time, because what else runs on the machine is not the kernel's fault.
double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class Function>
double SecondsOf(uint64_t repetitions, Function function) {
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

// Medians over rounds of the slowest thread's times, each thread on a tensor of its own and all at the same time.
Times Measure(const std::vector<std::unique_ptr<KernelWorkload>>& workloads, int rounds) {
  constexpr uint64_t kBytesPerRound = 32 << 20;
  const uint64_t repetitions = std::max<uint64_t>(1, kBytesPerRound / workloads[0]->value_bytes());
  const auto count = static_cast<std::ptrdiff_t>(workloads.size());
  std::barrier together(count);
  std::vector<std::vector<Times>> times(workloads.size());
  const auto work = [&](size_t thread) {
    KernelWorkload& workload = *workloads[thread];
    workload.RunCopy();
    for (int round = 0; round < rounds; ++round) {
      Times measured;
      together.arrive_and_wait();
      measured.copy_s = SecondsOf(repetitions, [&] { workload.RunCopy(); });
      together.arrive_and_wait();
      measured.kernel_s = SecondsOf(repetitions, [&] { workload.RunKernel(); });
      times[thread].push_back(measured);
    }
  };
  std::vector<std::jthread> others;
  for (size_t thread = 1; thread < workloads.size(); ++thread) others.emplace_back(work, thread);
  work(0);
  others.clear();
  std::vector<double> kernel;
  std::vector<double> copy;
  for (size_t round = 0; round < static_cast<size_t>(rounds); ++round) {
    Times slowest;
    for (const auto& of_thread : times) {
      slowest.kernel_s = std::max(slowest.kernel_s, of_thread[round].kernel_s);
      slowest.copy_s = std::max(slowest.copy_s, of_thread[round].copy_s);
    }
    kernel.push_back(slowest.kernel_s);
    copy.push_back(slowest.copy_s);
  }
  return {Median(kernel), Median(copy)};
}

struct Row {
  std::string preset;
  Direction direction;
  DataType dtype;
  std::string target;
  uint64_t kib;

  std::string name() const {
    std::string name = preset;
    name.append(direction == Direction::kQuantize ? "/encode/" : "/decode/").append(InfoOf(dtype).name);
    return name.append("/").append(target).append("/").append(std::to_string(kib)).append("KiB");
  }
};

void PrintHeader(int cores) {
  std::printf("| preset, direction, type, target, size of the values | values GB/s | copy GB/s | share |");
  if (cores > 1) std::printf(" kernel on %d cores | copy on %d cores |", cores, cores);
  std::printf("\n|---|---|---|---|%s\n", cores > 1 ? "---|---|" : "");
}

// Prints the row; false if the kernel's bytes are wrong.
bool MeasureRow(const Row& row, const Options& options) {
  std::vector<std::unique_ptr<KernelWorkload>> workloads;
  const auto add = [&] {
    workloads.push_back(
        std::make_unique<KernelWorkload>(row.target, row.preset, row.direction, row.dtype, row.kib << 10));
  };
  add();
  const Times alone = Measure(workloads, options.rounds);
  const auto gigabytes = static_cast<double>(workloads[0]->value_bytes()) / 1e9;
  std::printf("| %s | %.2f | %.2f | %.2f |", row.name().c_str(), gigabytes / alone.kernel_s, gigabytes / alone.copy_s,
              alone.copy_s / alone.kernel_s);
  if (options.cores > 1) {
    while (workloads.size() < static_cast<size_t>(options.cores)) add();
    const Times together = Measure(workloads, options.rounds);
    std::printf(" %.2fx | %.2fx |", options.cores * alone.kernel_s / together.kernel_s,
                options.cores * alone.copy_s / together.copy_s);
  }
  const bool correct = std::ranges::all_of(workloads, [](const auto& workload) { return workload->Verify(); });
  std::printf("%s\n", correct ? "" : " WRONG BYTES");
  std::fflush(stdout);
  return correct;
}

bool MeasureAll(const Options& options) {
  bool correct = true;
  PrintHeader(options.cores);
  for (const std::string& target : CpuTargets()) {
    for (const PresetInfo& preset : AllPresets()) {
      for (const Direction direction : {Direction::kQuantize, Direction::kDequantize}) {
        for (const DataType dtype : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
          for (const uint64_t kib : options.kib) {
            const Row row{preset.name, direction, dtype, target, kib};
            if (std::regex_search(row.name(), options.filter)) correct = MeasureRow(row, options) && correct;
          }
        }
      }
    }
  }
  return correct;
}

// False for what it does not know.
bool Parse(std::string_view argument, Options& options) {
  const size_t equals = argument.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = argument.substr(0, equals);
  const std::string value(argument.substr(equals + 1));
  if (name == "--benchmark_filter") {
    options.filter = std::regex(value);
    return true;
  }
  const long number = std::strtol(value.c_str(), nullptr, 10);
  if (number < 1) return false;
  if (name == "--kib") {
    options.kib = {static_cast<uint64_t>(number)};
  } else if (name == "--rounds") {
    options.rounds = static_cast<int>(number);
  } else if (name == "--cores") {
    options.cores = static_cast<int>(number);
  } else {
    return false;
  }
  return true;
}

}  // namespace
}  // namespace quantd::testing

int main(int argc, char** argv) {
  quantd::testing::Options options;
  try {
    for (int i = 1; i < argc; ++i) {
      if (quantd::testing::Parse(argv[i], options)) continue;
      std::fprintf(
          stderr,
          "usage: %s [--benchmark_filter=REGEX] [--kib=SIZE_OF_VALUES] [--rounds=N] [--cores=N]\n"
          "REGEX is searched for in names such as bnb-nf4/encode/bfloat16/avx2/1024KiB; a size is a multiple of 64\n",
          argv[0]);
      return 2;
    }
    return quantd::testing::MeasureAll(options) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
