#include "client/cli/calibration_report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/human.h"
#include "client/cli/table.h"
#include "kernels/calibrate/ranges.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

constexpr double kShownPercentile = 99.99;

bool HasFinite(const BucketRange& range) { return range.count > range.nonfinite; }

// Of |x|; nothing without a distribution.
std::optional<float> PercentileOf(const TensorStatistics& statistics) {
  const auto ranges = FindRanges(statistics, {.method = RangeMethod::kPercentile, .percentile = kShownPercentile});
  if (!ranges.ok() || ranges->empty()) return std::nullopt;
  return ranges->front().highest;
}

std::string ConfigText(const StatisticsConfig& config) {
  std::string text;
  for (const auto& [field, value] : ToFields(config))
    absl::StrAppend(&text, text.empty() ? "" : " ", field, "=", value);
  return text;
}

}  // namespace

std::string FormatTable(const Calibration& calibration) {
  Table table({{"tensor", Table::Align::kLeft},
               {"dtype", Table::Align::kLeft},
               {"buckets"},
               {"values"},
               {"non-finite"},
               {"min"},
               {"max"},
               {absl::StrCat("|x| ", kShownPercentile, " %")}});
  for (const auto& [name, statistics] : calibration.tensors) {
    const BucketRange total = statistics.Total();
    const std::optional<float> percentile = PercentileOf(statistics);
    table.AddRow(
        {server::Printable(name), std::string(InfoOf(statistics.dtype()).name), absl::StrCat(statistics.bucket_count()),
         absl::StrCat(total.count), absl::StrCat(total.nonfinite), HasFinite(total) ? HumanNumber(total.lowest) : "-",
         HasFinite(total) ? HumanNumber(total.highest) : "-", percentile.has_value() ? HumanNumber(*percentile) : "-"});
  }
  return absl::StrCat(ConfigText(calibration.config), "\n", table.ToString());
}

std::string FormatJson(const Calibration& calibration) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::object();
  for (const auto& [name, statistics] : calibration.tensors) {
    const BucketRange total = statistics.Total();
    nlohmann::ordered_json tensor{{"dtype", InfoOf(statistics.dtype()).name},
                                  {"buckets", statistics.bucket_count()},
                                  {"count", total.count},
                                  {"nonfinite_count", total.nonfinite}};
    if (HasFinite(total)) {
      tensor["min"] = total.lowest;
      tensor["max"] = total.highest;
      tensor["absmax"] = total.Absmax();
    }
    if (const auto percentile = PercentileOf(statistics); percentile.has_value()) tensor["abs_p99.99"] = *percentile;
    tensors[name] = std::move(tensor);
  }
  const nlohmann::ordered_json document{{"configuration", ToFields(calibration.config)},
                                        {"tensors", std::move(tensors)}};
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace quantd::cli
