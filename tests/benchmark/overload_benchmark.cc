// What a quantd process does with ten times as many clients as it takes to keep it busy, and how two users with weights
// 1 and 3 share one whose processors are slow. Every result is compared with what an idle server made of the same
// values.
//   overload_benchmark [SECONDS]          60 by default; the two users need root, to become them
//   overload_benchmark clients ADDRESS COUNT SECONDS UID    what it starts for that: clients of one user, one line out
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "client/cpp/client.h"
#include "kernels/base/error.h"
#include "tests/integration/quantd_process.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kElements = 2 << 20;
constexpr uint64_t kTensorBytes = kElements * sizeof(float);
constexpr int kBusyClients = 4;
constexpr int kOverload = 10;
constexpr int kStreamsMax = 8;
constexpr uid_t kLightUser = 1001;
constexpr uid_t kHeavyUser = 1003;  // of weight 3

std::vector<float> Values() {
  std::vector<float> values(kElements);
  for (uint64_t i = 0; i < kElements; ++i) values[i] = static_cast<float>((i * 2'654'435'761) % 2001) / 1000 - 1;
  return values;
}

TensorView ViewOf(const std::vector<float>& values) {
  return {"values", DataType::kFloat32, {values.size()}, std::as_bytes(std::span(values))};
}

// Compares as it comes.
class ExpectedSegments final : public SegmentSink {
 public:
  explicit ExpectedSegments(const std::vector<Segment>& expected) : expected_(expected) {}
  absl::Status Begin(const SchemeRequest&, std::span<const SegmentView>, std::span<const uint64_t>) override {
    return absl::OkStatus();
  }
  absl::Status Write(const std::string& segment, uint64_t offset, std::span<const std::byte> bytes) override {
    for (const Segment& expected : expected_) {
      if (expected.name != segment) continue;
      const bool equal = offset + bytes.size() <= expected.bytes.size() &&
                         std::memcmp(expected.bytes.data() + offset, bytes.data(), bytes.size()) == 0;
      return equal ? absl::OkStatus() : absl::InternalError("wrong bytes");
    }
    return absl::InternalError("an unexpected segment");
  }

 private:
  const std::vector<Segment>& expected_;
};

struct Outcome {
  std::vector<double> latencies_ms;        // of tensors that came back in time
  std::map<std::string, uint64_t> errors;  // by code and reason
  double seconds = 0;

  double bytes_per_second() const { return static_cast<double>(latencies_ms.size() * kTensorBytes) / seconds; }
  double Quantile(double q) const {
    if (latencies_ms.empty()) return 0;
    std::vector<double> sorted = latencies_ms;
    std::sort(sorted.begin(), sorted.end());
    return sorted[std::min(sorted.size() - 1, static_cast<size_t>(q * static_cast<double>(sorted.size())))];
  }
};

absl::Duration RetryDelayOf(const absl::Status& status) {
  for (const auto& [name, value] : DetailsOf(status).metadata) {
    if (name == "retry_delay_ms") return absl::Milliseconds(std::atoi(value.c_str()));
  }
  return absl::Seconds(1);
}

// Clients that each send one tensor after another, each over a stream of its own, and wait as long as a refusal says.
// What is done in the first tenth of the time does not count.
Outcome RunClients(const std::string& address, int count, absl::Duration duration) {
  const std::vector<float> values = Values();
  const auto first = Client::Create({.address = address, .retry = {.attempts_max = 100}});
  const auto quantized = (*first)->Quantize(ViewOf(values), {.preset = "bnb-nf4"});
  if (!quantized.ok()) {
    std::fprintf(stderr, "%s\n", quantized.status().ToString().c_str());
    std::exit(1);
  }
  const absl::Time begin = absl::Now();
  const absl::Time counts_from = begin + duration / 10;
  const absl::Time end = begin + duration;
  const absl::Notification never;
  std::mutex mutex;
  Outcome outcome{.seconds = absl::ToDoubleSeconds(end - counts_from)};
  const auto run = [&] {
    const auto client = Client::Create({.address = address, .retry = {.attempts_max = 1}, .connections_max = 1});
    while (absl::Now() < end) {
      const absl::Time sent_at = absl::Now();
      ExpectedSegments sink(quantized->segments);
      const auto summary = (*client)->Quantize(ViewOf(values), {.preset = "bnb-nf4"}, sink);
      const absl::Time now = absl::Now();
      const bool counts = now >= counts_from && now <= end;
      const std::string error =
          absl::StatusCodeToString(summary.status().code()) + " " + DetailsOf(summary.status()).reason;
      if (counts) {
        const std::lock_guard lock(mutex);
        if (summary.ok()) outcome.latencies_ms.push_back(absl::ToDoubleMilliseconds(now - sent_at));
        if (!summary.ok()) ++outcome.errors[error];
      }
      if (!summary.ok()) never.WaitForNotificationWithTimeout(std::min(RetryDelayOf(summary.status()), end - now));
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
  return outcome;
}

double RssMib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  while (status >> word) {
    double kib = 0;
    if (word == "VmRSS:" && status >> kib) return kib / 1024;
  }
  return 0;
}

void PrintErrors(const Outcome& outcome) {
  if (outcome.errors.empty()) std::printf("  no refusals\n");
  for (const auto& [what, count] : outcome.errors) {
    std::printf("  refused %-40s %llu\n", what.c_str(), static_cast<unsigned long long>(count));
  }
}

std::string WriteConfig(const std::string& folder, const std::string& text) {
  const std::string path = folder + "/quantd.toml";
  std::ofstream(path) << text;
  return path;
}

void Overload(const std::string& folder, absl::Duration duration) {
  const std::string streams = std::to_string(kStreamsMax);
  QuantdProcess quantd(
      {"--gpu", "off", "--log-level", "error", "--config",
       WriteConfig(folder, "[limits]\nstreams_max = " + streams + "\nstreams_per_principal_max = " + streams + "\n")});
  // While there is a channel gRPC is not unloaded, which takes it ten seconds.
  const auto keeps_grpc = Client::Create({.address = quantd.address()});
  const auto info = (*keeps_grpc)->GetServerInfo();
  if (!info.ok()) std::abort();
  const Outcome before = RunClients(quantd.address(), kBusyClients, duration / 4);
  std::vector<double> rss_mib;
  absl::Notification over;
  std::thread sampler([&] {
    do {
      rss_mib.push_back(RssMib(quantd.pid()));
    } while (!over.WaitForNotificationWithTimeout(duration / 12));
  });
  const Outcome overload = RunClients(quantd.address(), kBusyClients * kOverload, duration);
  over.Notify();
  sampler.join();
  const Outcome after = RunClients(quantd.address(), kBusyClients, duration / 4);

  std::printf("tensors of %llu MiB float32 to bnb-nf4, streams_max %d\n",
              static_cast<unsigned long long>(kTensorBytes >> 20), kStreamsMax);
  for (const auto& [when, busy] : {std::pair{"before", &before}, {"after", &after}}) {
    std::printf("capacity: %d clients  %.3f GB/s  p50 %.0f ms  p99 %.0f ms, %s\n", kBusyClients,
                busy->bytes_per_second() / 1e9, busy->Quantile(0.5), busy->Quantile(0.99), when);
  }
  std::printf("overload: %d clients  %.3f GB/s  p50 %.0f ms  p99 %.0f ms  max %.0f ms of those admitted\n",
              kBusyClients * kOverload, overload.bytes_per_second() / 1e9, overload.Quantile(0.5),
              overload.Quantile(0.99), overload.Quantile(1));
  PrintErrors(overload);
  const double capacity = (before.bytes_per_second() + after.bytes_per_second()) / 2;
  std::printf("  goodput / capacity %.3f\n", overload.bytes_per_second() / capacity);
  std::printf("  RSS MiB over time:");
  for (const double rss : rss_mib) std::printf(" %.0f", rss);
  std::printf("\n  exit code after SIGTERM %d\n", quantd.Stop(SIGTERM));
}

// Gigabytes per second of a user's clients, which run as that user.
FILE* StartClients(const std::string& address, int count, absl::Duration duration, uid_t uid) {
  const std::string command = std::filesystem::read_symlink("/proc/self/exe").string() + " clients " + address + " " +
                              std::to_string(count) + " " + std::to_string(absl::ToInt64Seconds(duration)) + " " +
                              std::to_string(uid);
  return popen(command.c_str(), "r");
}

double AwaitClients(FILE* clients) {
  double rate = 0;
  if (fscanf(clients, "%lf", &rate) != 1) rate = 0;
  pclose(clients);
  return rate;
}

void Share(const std::string& folder, absl::Duration duration) {
  const std::string socket = folder + "/quantd.sock";
  const std::string light = std::to_string(kLightUser);
  const std::string heavy = std::to_string(kHeavyUser);
  QuantdProcess quantd(
      {"--gpu", "off", "--log-level", "error", "--compute-threads", "1", "--cpu-target", "scalar", "--listen",
       "unix:" + socket, "--config",
       WriteConfig(folder, "principals = [{name = 'uid:" + light + "', weight = 1}, {name = 'uid:" + heavy +
                               "', weight = 3}]\n[unix_listener]\nmode = '0666'\nallowed_uids = [" + light + ", " +
                               heavy + "]\n")});
  std::printf(
      "users of weights 1 and 3, on a unix socket, one thread of scalar code is what is short\n%22s %14s %14s %8s\n",
      "clients of each", "GB/s", "GB/s", "ratio");
  for (const auto& [of_light, of_heavy] : {std::pair{8, 8}, {16, 8}}) {
    FILE* const one = StartClients("unix:" + socket, of_light, duration, kLightUser);
    FILE* const other = StartClients("unix:" + socket, of_heavy, duration, kHeavyUser);
    const double light_rate = AwaitClients(one);
    const double heavy_rate = AwaitClients(other);
    std::printf("%16d and %2d %14.3f %14.3f %8.2f\n", of_light, of_heavy, light_rate, heavy_rate,
                heavy_rate / light_rate);
  }
}

int RunAsClients(char** arguments) {
  if (setuid(static_cast<uid_t>(std::atoi(arguments[3]))) != 0) return 1;
  const Outcome outcome = RunClients(arguments[0], std::atoi(arguments[1]), absl::Seconds(std::atoi(arguments[2])));
  std::printf("%.4f\n", outcome.bytes_per_second() / 1e9);
  for (const auto& [what, count] : outcome.errors) {
    std::fprintf(stderr, "%s %llu\n", what.c_str(), static_cast<unsigned long long>(count));
  }
  return 0;
}

int Run(absl::Duration duration) {
  char name[] = "/tmp/quantd_overload_XXXXXX";
  const std::filesystem::path folder = mkdtemp(name);
  std::filesystem::permissions(folder, std::filesystem::perms(0755));
  Overload(folder.string(), duration);
  if (geteuid() == 0) {
    Share(folder.string(), duration / 2);
  } else {
    std::printf("two users: skipped, this is not root\n");
  }
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace quantd::testing

int main(int argc, char** argv) {
  if (argc == 6 && std::string(argv[1]) == "clients") return quantd::testing::RunAsClients(argv + 2);
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 60;
  if (seconds < 3) {
    std::fprintf(stderr, "usage: overload_benchmark [SECONDS], at least 3\n");
    return 2;
  }
  return quantd::testing::Run(absl::Seconds(seconds));
}
