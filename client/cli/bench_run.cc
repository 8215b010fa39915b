#include "client/cli/bench_run.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cli/bench_tensor.h"
#include "kernels/base/status_macros.h"

namespace quantd::cli {
namespace {

constexpr uint64_t kReferenceRows = 512;  // whole units of every scheme, more than a digest's prefix
constexpr uint64_t kBulkMessagesInFlightMax = 8;
constexpr uint64_t kSmallMessagesInFlightMax = 64;  // as many as the client keeps
constexpr uint32_t kWarmUpCalls = 50;

using Segments = std::map<std::string, DigestSink::Digest>;
using Call = std::function<absl::Status()>;

// Runs each of `calls` on a thread of its own; the time until the last has returned.
absl::StatusOr<absl::Duration> TimeOf(const Clock& clock, const CancelToken& cancel, const std::vector<Call>& calls) {
  if (cancel.cancelled()) return absl::CancelledError("The bench was interrupted.");
  std::vector<absl::Status> statuses(calls.size());
  const absl::Time begin = clock.Now();
  std::vector<std::thread> threads;
  for (size_t i = 1; i < calls.size(); ++i) threads.emplace_back([&, i] { statuses[i] = calls[i](); });
  statuses[0] = calls[0]();
  for (std::thread& thread : threads) thread.join();
  const absl::Duration time = clock.Now() - begin;
  for (const absl::Status& status : statuses) QUANTD_RETURN_IF_ERROR(status);
  return time;
}

template <typename T>
T Quantile(std::vector<T> values, double fraction) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(static_cast<double>(values.size() - 1) * fraction)];
}

// Of contenders that take turns, the median times.
absl::StatusOr<std::vector<absl::Duration>> MedianTimes(const Clock& clock, const CancelToken& cancel, uint32_t rounds,
                                                        const std::vector<std::vector<Call>>& contenders) {
  std::vector<std::vector<absl::Duration>> times(contenders.size());
  for (uint32_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      QUANTD_ASSIGN_OR_RETURN(const absl::Duration time, TimeOf(clock, cancel, contenders[i]));
      times[i].push_back(time);
    }
  }
  std::vector<absl::Duration> medians;
  medians.reserve(times.size());
  for (auto& of_one : times) medians.push_back(Quantile(std::move(of_one), 0.5));
  return medians;
}

absl::Status Wrong(const std::string& segment, const char* what) {
  return absl::DataLossError(absl::StrCat("The measured server's ", segment, what));
}

// One thread sets it, the others must agree; safe from any.
class AgreedSegments {
 public:
  explicit AgreedSegments(Segments prefixes) : prefixes_(std::move(prefixes)) {}

  absl::Status Check(const Segments& segments) {
    for (const auto& [name, reference] : prefixes_) {
      const auto found = segments.find(name);
      if (found == segments.end()) return Wrong(name, " did not come.");
      const size_t common = std::min(found->second.prefix.size(), reference.prefix.size());
      if (!std::equal(reference.prefix.begin(), reference.prefix.begin() + static_cast<std::ptrdiff_t>(common),
                      found->second.prefix.begin())) {
        return Wrong(name, " is not what the portable kernels make.");
      }
    }
    const std::lock_guard lock(mutex_);
    if (!agreed_.has_value()) agreed_ = segments;
    return *agreed_ == segments ? absl::OkStatus() : absl::DataLossError("Two results of one tensor differ.");
  }

 private:
  const Segments prefixes_;
  std::mutex mutex_;
  std::optional<Segments> agreed_;  // guarded by mutex_
};

class Bench {
 public:
  Bench(const BenchSettings& settings, BenchPeers& peers, const Clock& clock, const CancelToken& cancel,
        const std::function<void(const std::string&)>& begin)
      : settings_(settings), peers_(peers), clock_(clock), cancel_(cancel), begin_(begin) {}

  absl::StatusOr<BenchReport> Run() {
    BenchReport report;
    QUANTD_RETURN_IF_ERROR(RunBulk(report));
    QUANTD_RETURN_IF_ERROR(RunSmall(report));
    return report;
  }

 private:
  absl::Status RunBulk(BenchReport& report) {
    const uint64_t row_bytes = kBenchColumns * SizeBytes(settings_.dtype);
    const uint64_t rows = std::max<uint64_t>(settings_.tensor_bytes / row_bytes / kReferenceRows, 1) * kReferenceRows;
    QUANTD_ASSIGN_OR_RETURN(const BenchTensor tensor,
                            BenchTensor::Make(settings_.scheme, settings_.dtype, rows, kBenchColumns));
    QUANTD_ASSIGN_OR_RETURN(const std::shared_ptr<Client> reference, peers_.Reference());
    QUANTD_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, peers_.NewClient(1));
    const CallOptions options{.statistics = tensor.statistics(), .frame_data_bytes = settings_.message_bytes};
    const bool lends = settings_.lending != Lending::kNone;

    QUANTD_ASSIGN_OR_RETURN(Segments reference_codes, ReferenceCodes(*reference, tensor, options));
    AgreedSegments codes(std::move(reference_codes));
    CallOptions quantize_options = options;
    if (lends) quantize_options.memory_owner = tensor.owner();
    const auto quantize = [&](Client& one) -> absl::Status {
      DigestSink sink;
      QUANTD_RETURN_IF_ERROR(one.Quantize(tensor.View(), settings_.scheme, sink, quantize_options).status());
      return codes.Check(sink.segments());
    };
    QUANTD_RETURN_IF_ERROR(RunDirection(Direction::kQuantize, tensor, quantize, report));

    QUANTD_ASSIGN_OR_RETURN(QuantizedTensor made, client->Quantize(tensor.View(), settings_.scheme, options));
    const auto quantized = std::make_shared<const QuantizedTensor>(std::move(made));
    QUANTD_ASSIGN_OR_RETURN(Segments reference_values, ReferenceValues(*reference, tensor, options));
    AgreedSegments values(std::move(reference_values));
    CallOptions dequantize_options = options;
    if (lends) dequantize_options.memory_owner = quantized;
    const QuantizedTensorView view = quantized->View();
    const auto dequantize = [&](Client& one) -> absl::Status {
      DigestSink sink;
      QUANTD_RETURN_IF_ERROR(one.Dequantize(view, settings_.dtype, sink, dequantize_options).status());
      return values.Check(sink.segments());
    };
    return RunDirection(Direction::kDequantize, tensor, dequantize, report);
  }

  absl::StatusOr<Segments> ReferenceCodes(Client& reference, const BenchTensor& tensor,
                                          const CallOptions& options) const {
    const TensorView rows = tensor.Rows(kReferenceRows);
    DigestSink sink;
    QUANTD_RETURN_IF_ERROR(reference.Quantize(rows, settings_.scheme, sink, options).status());
    QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(settings_.scheme));
    QUANTD_ASSIGN_OR_RETURN(const Plan plan,
                            MakePlan(scheme, Direction::kQuantize, settings_.dtype, rows.shape, options.statistics));
    Segments prefixes;
    for (const SegmentLayout& segment : plan.WireOutputs()) {
      if (!segment.whole_tensor()) prefixes[segment.name] = sink.segments().at(segment.name);
    }
    return prefixes;
  }
  absl::StatusOr<Segments> ReferenceValues(Client& reference, const BenchTensor& tensor,
                                           const CallOptions& options) const {
    QUANTD_ASSIGN_OR_RETURN(const QuantizedTensor codes,
                            reference.Quantize(tensor.Rows(kReferenceRows), settings_.scheme, options));
    DigestSink sink;
    QUANTD_RETURN_IF_ERROR(reference.Dequantize(codes.View(), settings_.dtype, sink, options).status());
    return sink.segments();
  }

  // Echo messages have the sizes of the server's: on the side of the values message_bytes, on the other in proportion.
  absl::Status RunDirection(Direction direction, const BenchTensor& tensor,
                            const std::function<absl::Status(Client&)>& run, BenchReport& report) {
    const bool is_quantize = direction == Direction::kQuantize;
    const uint64_t values_bytes = std::min<uint64_t>(settings_.message_bytes, tensor.value_bytes());
    const uint64_t segments_bytes = std::max<uint64_t>(values_bytes * tensor.segment_bytes() / tensor.value_bytes(), 1);
    const uint64_t answer_bytes = is_quantize ? segments_bytes : values_bytes;
    const uint64_t message_bytes = is_quantize ? values_bytes : segments_bytes;
    QUANTD_ASSIGN_OR_RETURN(const auto raw, peers_.StartEcho({answer_bytes, false}));
    QUANTD_ASSIGN_OR_RETURN(const auto checking, peers_.StartEcho({answer_bytes, true}));
    const std::shared_ptr<const void> lent = settings_.lending == Lending::kBoth ? tensor.owner() : nullptr;
    const auto sent = tensor.View().values.first(tensor.value_bytes() / values_bytes * message_bytes);

    for (const uint32_t connections : settings_.connections) {
      begin_(absl::StrCat(is_quantize ? "quantize" : "dequantize", " on ", connections, " connections"));
      std::vector<std::unique_ptr<Client>> clients;
      std::vector<std::vector<Call>> contenders(3);
      for (uint32_t i = 0; i < connections; ++i) {
        QUANTD_ASSIGN_OR_RETURN(clients.emplace_back(), peers_.NewClient(1));
        contenders[0].emplace_back([&run, client = clients.back().get()] { return run(*client); });
        contenders[1].emplace_back([&] { return raw->Stream(sent, message_bytes, kBulkMessagesInFlightMax, lent); });
        contenders[2].emplace_back(
            [&] { return checking->Stream(sent, message_bytes, kBulkMessagesInFlightMax, lent); });
      }
      QUANTD_ASSIGN_OR_RETURN(const auto times, MedianTimes(clock_, cancel_, settings_.rounds, contenders));
      const double gigabytes = static_cast<double>(tensor.value_bytes()) * connections / 1e9;
      report.bulk.push_back({direction, connections, gigabytes / absl::ToDoubleSeconds(times[0]),
                             gigabytes / absl::ToDoubleSeconds(times[1]), gigabytes / absl::ToDoubleSeconds(times[2])});
    }
    return absl::OkStatus();
  }

  absl::Status RunSmall(BenchReport& report) {
    const uint64_t row_bytes = kBenchColumns * SizeBytes(settings_.dtype);
    QUANTD_ASSIGN_OR_RETURN(const BenchTensor tensor,
                            BenchTensor::Make(settings_.scheme, settings_.dtype,
                                              std::max<uint64_t>(settings_.small_bytes / row_bytes, 1), kBenchColumns));
    QUANTD_ASSIGN_OR_RETURN(const auto echo, peers_.StartEcho({tensor.segment_bytes(), false}));
    QUANTD_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, peers_.NewClient(1));
    QUANTD_RETURN_IF_ERROR(MeasureLatency(tensor, *client, *echo, report));
    return MeasurePipeline(tensor, *client, *echo, report);
  }

  // In turn, so that both see the same machine.
  absl::Status MeasureLatency(const BenchTensor& tensor, Client& client, EchoBaseline& echo, BenchReport& report) {
    begin_("small tensors, one at a time");
    AgreedSegments agreed({});
    const CallOptions options{.statistics = tensor.statistics()};
    const Call call = [&]() -> absl::Status {
      DigestSink sink;
      QUANTD_RETURN_IF_ERROR(client.Quantize(tensor.View(), settings_.scheme, sink, options).status());
      return agreed.Check(sink.segments());
    };
    const Call exchange = [&] { return echo.Exchange(tensor.View().values); };
    std::vector<absl::Duration> tensor_times, echo_times;
    for (uint32_t i = 0; i < kWarmUpCalls + settings_.small_calls; ++i) {
      QUANTD_ASSIGN_OR_RETURN(const absl::Duration tensor_time, TimeOf(clock_, cancel_, {call}));
      QUANTD_ASSIGN_OR_RETURN(const absl::Duration echo_time, TimeOf(clock_, cancel_, {exchange}));
      if (i < kWarmUpCalls) continue;
      tensor_times.push_back(tensor_time);
      echo_times.push_back(echo_time);
    }
    report.tensor_latency = {"a tensor", Quantile(tensor_times, 0.5), Quantile(tensor_times, 0.99)};
    report.echo_latency = {"an echo message", Quantile(echo_times, 0.5), Quantile(echo_times, 0.99)};
    return absl::OkStatus();
  }

  absl::Status MeasurePipeline(const BenchTensor& tensor, Client& client, EchoBaseline& echo, BenchReport& report) {
    begin_("small tensors, pipelined on one stream");
    const std::vector<TensorView> tensors(settings_.small_tensors, tensor.View());
    std::vector<std::byte> all;
    for (uint32_t i = 0; i < settings_.small_tensors; ++i) {
      all.insert(all.end(), tensor.View().values.begin(), tensor.View().values.end());
    }
    const CallOptions options{.statistics = tensor.statistics()};
    QUANTD_ASSIGN_OR_RETURN(const QuantizedTensor expected, client.Quantize(tensor.View(), settings_.scheme, options));
    const Call run = [&]() -> absl::Status {
      for (const auto& result : client.QuantizeAll(tensors, settings_.scheme, options)) {
        QUANTD_RETURN_IF_ERROR(result.status());
        for (size_t i = 0; i < expected.segments.size(); ++i) {
          if (result->segments.at(i).bytes != expected.segments[i].bytes) {
            return Wrong(expected.segments[i].name, " of pipelined tensors differs.");
          }
        }
      }
      return absl::OkStatus();
    };
    const Call stream = [&] { return echo.Stream(all, tensor.value_bytes(), kSmallMessagesInFlightMax, nullptr); };
    QUANTD_ASSIGN_OR_RETURN(const auto times, MedianTimes(clock_, cancel_, settings_.rounds, {{run}, {stream}}));
    report.pipelined = {settings_.small_tensors / absl::ToDoubleSeconds(times[0]),
                        settings_.small_tensors / absl::ToDoubleSeconds(times[1])};
    return absl::OkStatus();
  }

  const BenchSettings& settings_;
  BenchPeers& peers_;
  const Clock& clock_;
  const CancelToken& cancel_;
  const std::function<void(const std::string&)>& begin_;
};

}  // namespace

absl::StatusOr<BenchReport> RunBench(const BenchSettings& settings, BenchPeers& peers, const Clock& clock,
                                     const CancelToken& cancel,
                                     const std::function<void(const std::string& name)>& begin) {
  return Bench(settings, peers, clock, cancel, begin).Run();
}

}  // namespace quantd::cli
