#include "client/cli/comparison_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/human.h"
#include "client/cli/table.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using Json = nlohmann::ordered_json;

bool IsFloat(const std::string& dtype) { return !dtype.empty() && (dtype[0] == 'F' || dtype[0] == 'B'); }

const char* NameOf(ComparisonKind kind) {
  switch (kind) {
    case ComparisonKind::kValues:
      return "values";
    case ComparisonKind::kBits:
      return "bits";
    case ComparisonKind::kShapeDiffers:
      return "shape_differs";
    case ComparisonKind::kDtypeDiffers:
      return "dtype_differs";
  }
  return "";
}

std::vector<std::string> MetricCells(const ErrorStatistics& statistics) {
  return {HumanNumber(statistics.MeanSquaredError()), HumanNumber(statistics.max_abs_error),
          absl::StrFormat("%.2f", statistics.SnrDb()), absl::StrFormat("%.6f", statistics.Cosine()),
          absl::StrCat(statistics.differing)};
}

// First and second, or one of them where they are equal.
std::string Both(const std::string& first, const std::string& second) {
  return first == second ? first : absl::StrCat(first, " | ", second);
}

std::vector<std::string> Cells(const ComparedRow& row) {
  std::vector<std::string> cells{server::Printable(row.name), Both(row.first_dtype, row.second_dtype),
                                 Both(HumanShape(row.first_shape), HumanShape(row.second_shape))};
  std::vector<std::string> metrics{"-", "-", "-", "-", "-"};
  if (row.kind == ComparisonKind::kValues) metrics = MetricCells(row.statistics);
  if (row.kind == ComparisonKind::kBits) metrics.back() = absl::StrCat(row.statistics.differing);
  cells.insert(cells.end(), metrics.begin(), metrics.end());
  cells.emplace_back(row.compared() ? "" : NameOf(row.kind));
  return cells;
}

// JSON has no infinity: null then.
Json FiniteOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

void AddMetrics(const ErrorStatistics& statistics, Json& json) {
  json["mse"] = FiniteOrNull(statistics.MeanSquaredError());
  json["max_abs_error"] = FiniteOrNull(statistics.max_abs_error);
  json["snr_db"] = FiniteOrNull(statistics.SnrDb());
  json["cosine"] = FiniteOrNull(statistics.Cosine());
  json["nonfinite"] = statistics.nonfinite;
  json["nonfinite_differing"] = statistics.nonfinite_differing;
}

}  // namespace

bool ComparisonReport::SameTensors() const {
  return only_in_first.empty() && only_in_second.empty() &&
         std::all_of(rows.begin(), rows.end(), [](const ComparedRow& row) { return row.compared(); });
}

bool ComparisonReport::SameElements() const {
  return SameTensors() && std::all_of(rows.begin(), rows.end(), [](const ComparedRow& row) {
           return row.statistics.differing == 0 && row.first_dtype == row.second_dtype;
         });
}

ErrorStatistics ComparisonReport::FloatTotals() const {
  ErrorStatistics totals;
  for (const ComparedRow& row : rows) {
    if (row.kind == ComparisonKind::kValues && IsFloat(row.first_dtype)) totals.Merge(row.statistics);
  }
  return totals;
}

std::string FormatTable(const ComparisonReport& report) {
  Table table({{"tensor", Table::Align::kLeft},
               {"dtype", Table::Align::kLeft},
               {"shape", Table::Align::kRight},
               {"MSE", Table::Align::kRight},
               {"max |error|", Table::Align::kRight},
               {"SNR dB", Table::Align::kRight},
               {"cosine", Table::Align::kRight},
               {"differing", Table::Align::kRight},
               {"", Table::Align::kLeft}});
  for (const ComparedRow& row : report.rows) table.AddRow(Cells(row));
  const ErrorStatistics totals = report.FloatTotals();
  std::vector<std::string> total_cells{"all floats", "", absl::StrCat(totals.elements)};
  for (std::string& cell : MetricCells(totals)) total_cells.push_back(std::move(cell));
  total_cells.emplace_back("");
  table.AddRule();
  table.AddRow(std::move(total_cells));
  std::string text = table.ToString();
  if (totals.nonfinite > 0) {
    absl::StrAppend(&text, "\n", totals.nonfinite, " pairs with a NaN or an infinity are left out, ",
                    totals.nonfinite_differing, " of them differ\n");
  }
  for (const std::string& name : report.only_in_first) {
    absl::StrAppend(&text, "only in ", report.first_path, ": ", server::Printable(name), "\n");
  }
  for (const std::string& name : report.only_in_second) {
    absl::StrAppend(&text, "only in ", report.second_path, ": ", server::Printable(name), "\n");
  }
  return text;
}

std::string FormatJson(const ComparisonReport& report) {
  Json tensors = Json::array();
  for (const ComparedRow& row : report.rows) {
    Json tensor{{"name", row.name},
                {"compared", NameOf(row.kind)},
                {"first", {{"dtype", row.first_dtype}, {"shape", row.first_shape}}},
                {"second", {{"dtype", row.second_dtype}, {"shape", row.second_shape}}}};
    if (row.compared()) {
      tensor["elements"] = row.statistics.elements;
      tensor["differing"] = row.statistics.differing;
    }
    if (row.kind == ComparisonKind::kValues) AddMetrics(row.statistics, tensor);
    tensors.push_back(std::move(tensor));
  }
  const ErrorStatistics totals = report.FloatTotals();
  Json float_totals{{"elements", totals.elements}, {"differing", totals.differing}};
  AddMetrics(totals, float_totals);
  const Json document{{"first", report.first_path},
                      {"second", report.second_path},
                      {"same_tensors", report.SameTensors()},
                      {"same_elements", report.SameElements()},
                      {"only_in_first", report.only_in_first},
                      {"only_in_second", report.only_in_second},
                      {"tensors", std::move(tensors)},
                      {"float_totals", std::move(float_totals)}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace quantd::cli
