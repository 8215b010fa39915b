#include "client/cli/calibration_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/human.h"
#include "client/cli/table.h"
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

// What all buckets' ranges together span.
std::string SpanText(const std::vector<Range>& ranges) {
  if (ranges.empty()) return "-";
  Range span = ranges.front();
  for (const Range& range : ranges) {
    span = {std::min(span.lowest, range.lowest), std::max(span.highest, range.highest)};
  }
  return absl::StrCat(HumanNumber(span.lowest), " to ", HumanNumber(span.highest));
}

}  // namespace

std::string FormatTable(const Calibration& calibration, const ShownRanges& ranges) {
  std::vector<Table::Column> columns({{"tensor", Table::Align::kLeft},
                                      {"dtype", Table::Align::kLeft},
                                      {"buckets"},
                                      {"values"},
                                      {"non-finite"},
                                      {"min"},
                                      {"max"},
                                      {absl::StrCat("|x| ", kShownPercentile, " %")}});
  if (!ranges.empty()) columns.push_back({"range"});
  Table table(std::move(columns));
  for (const auto& [name, statistics] : calibration.tensors) {
    const BucketRange total = statistics.Total();
    const std::optional<float> percentile = PercentileOf(statistics);
    std::vector<std::string> row(
        {server::Printable(name), std::string(InfoOf(statistics.dtype()).name), absl::StrCat(statistics.bucket_count()),
         absl::StrCat(total.count), absl::StrCat(total.nonfinite), HasFinite(total) ? HumanNumber(total.lowest) : "-",
         HasFinite(total) ? HumanNumber(total.highest) : "-", percentile.has_value() ? HumanNumber(*percentile) : "-"});
    if (!ranges.empty()) row.push_back(SpanText(ranges.at(name)));
    table.AddRow(std::move(row));
  }
  return absl::StrCat(ConfigText(calibration.config), "\n", table.ToString());
}

std::string FormatJson(const Calibration& calibration, const ShownRanges& ranges) {
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
    if (!ranges.empty()) {
      for (const Range& range : ranges.at(name)) tensor["ranges"].push_back({range.lowest, range.highest});
    }
    tensors[name] = std::move(tensor);
  }
  const nlohmann::ordered_json document{{"configuration", ToFields(calibration.config)},
                                        {"tensors", std::move(tensors)}};
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace quantd::cli
