#include "client/cli/conversion_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/human.h"
#include "client/cli/table.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

struct Sizes {
  uint64_t elements = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  absl::Duration time;

  uint64_t quantized_bytes(bool quantized) const { return quantized ? bytes_out : bytes_in; }
  uint64_t value_bytes(bool quantized) const { return quantized ? bytes_in : bytes_out; }
  double bits_per_weight(bool quantized) const {
    return elements == 0 ? 0 : 8.0 * static_cast<double>(quantized_bytes(quantized)) / static_cast<double>(elements);
  }
};

Sizes SizesOf(const ConversionReport& report, const ConvertedRow& row) {
  const uint64_t value_bytes = report.quantized ? row.bytes_in : row.bytes_out;
  return {value_bytes / SizeBytes(row.values_dtype), row.bytes_in, row.bytes_out, row.time};
}

Sizes TotalsOf(const ConversionReport& report) {
  Sizes totals;
  for (const ConvertedRow& row : report.converted) {
    const Sizes sizes = SizesOf(report, row);
    totals.elements += sizes.elements;
    totals.bytes_in += sizes.bytes_in;
    totals.bytes_out += sizes.bytes_out;
    totals.time += sizes.time;
  }
  return totals;
}

std::vector<std::string> Cells(std::string name, std::string dtype, std::string shape, const Sizes& sizes,
                               bool quantized) {
  return {std::move(name),
          std::move(dtype),
          std::move(shape),
          absl::StrFormat("%.3f", sizes.bits_per_weight(quantized)),
          HumanBytes(sizes.bytes_in),
          HumanBytes(sizes.bytes_out),
          HumanGigabytesPerSecond(sizes.value_bytes(quantized), sizes.time)};
}

bool HasErrors(const ConversionReport& report) {
  return std::any_of(report.converted.begin(), report.converted.end(),
                     [](const ConvertedRow& row) { return row.summary.errors.has_value(); });
}

std::vector<std::string> ErrorCells(const std::optional<ErrorMetrics>& errors) {
  if (!errors.has_value()) return {"", "", ""};
  return {absl::StrFormat("%.3g", errors->mean_squared_error), absl::StrFormat("%.3g", errors->max_error),
          absl::StrFormat("%.2f", errors->snr_db)};
}

// JSON has no infinity: an SNR without an error is null.
nlohmann::ordered_json ErrorsJson(const ErrorMetrics& errors) {
  nlohmann::ordered_json json{
      {"count", errors.count}, {"mean_squared_error", errors.mean_squared_error}, {"max_error", errors.max_error}};
  json["snr_db"] = std::isfinite(errors.snr_db) ? nlohmann::ordered_json(errors.snr_db) : nullptr;
  return json;
}

nlohmann::ordered_json SizesJson(const Sizes& sizes, bool quantized) {
  const double seconds = absl::ToDoubleSeconds(sizes.time);
  nlohmann::ordered_json json{{"elements", sizes.elements},
                              {"bits_per_weight", sizes.bits_per_weight(quantized)},
                              {"bytes_in", sizes.bytes_in},
                              {"bytes_out", sizes.bytes_out},
                              {"seconds", seconds}};
  const double value_bytes = static_cast<double>(sizes.value_bytes(quantized));
  json["gb_per_s"] = seconds > 0 ? nlohmann::ordered_json(value_bytes / seconds / 1e9) : nullptr;
  return json;
}

uint64_t CopiedBytes(const ConversionReport& report) {
  uint64_t bytes = 0;
  for (const CopiedRow& row : report.copied) bytes += row.bytes;
  return bytes;
}

}  // namespace

std::string FormatTable(const ConversionReport& report) {
  std::vector<Table::Column> columns{{"tensor", Table::Align::kLeft}, {"dtype", Table::Align::kLeft},
                                     {"shape", Table::Align::kRight}, {"bits/weight", Table::Align::kRight},
                                     {"in", Table::Align::kRight},    {"out", Table::Align::kRight},
                                     {"GB/s", Table::Align::kRight}};
  const bool errors = HasErrors(report);
  if (errors) {
    for (const char* name : {"MSE", "max error", "SNR dB"}) columns.push_back({name, Table::Align::kRight});
  }
  Table table(std::move(columns));
  const auto add_row = [&](std::vector<std::string> cells, const std::optional<ErrorMetrics>& row_errors) {
    for (std::string& cell : ErrorCells(row_errors)) {
      if (errors) cells.push_back(std::move(cell));
    }
    table.AddRow(std::move(cells));
  };
  for (const ConvertedRow& row : report.converted) {
    add_row(Cells(server::Printable(row.name), std::string(InfoOf(row.values_dtype).name), HumanShape(row.shape),
                  SizesOf(report, row), report.quantized),
            row.summary.errors);
  }
  table.AddRule();
  add_row(Cells(absl::StrCat("total of ", report.converted.size()), "", "", TotalsOf(report), report.quantized),
          std::nullopt);
  return absl::StrFormat("%s\n%s: %s in %s; %d tensors %s, %d copied unchanged (%s)\n", table.ToString(),
                         report.output_path, HumanBytes(report.output_file_bytes),
                         absl::FormatDuration(absl::Trunc(report.time, absl::Milliseconds(1))), report.converted.size(),
                         report.quantized ? "quantized" : "dequantized", report.copied.size(),
                         HumanBytes(CopiedBytes(report)));
}

std::string FormatJson(const ConversionReport& report) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  for (const ConvertedRow& row : report.converted) {
    nlohmann::ordered_json tensor{
        {"name", row.name}, {"dtype", std::string(InfoOf(row.values_dtype).name)}, {"shape", row.shape}};
    tensor.update(SizesJson(SizesOf(report, row), report.quantized));
    tensor["scheme"] = {{"preset", row.scheme.preset},
                        {"overrides", row.scheme.overrides},
                        {"format_revision", row.scheme.format_revision}};
    tensor["device"] = row.summary.device;
    if (report.quantized) {
      tensor["amax"] = row.summary.amax;
      if (row.summary.lowest.has_value()) tensor["lowest"] = *row.summary.lowest;
      if (row.summary.highest.has_value()) tensor["highest"] = *row.summary.highest;
      tensor["nonfinite_count"] = row.summary.nonfinite_count;
      if (row.summary.errors.has_value()) tensor["errors"] = ErrorsJson(*row.summary.errors);
    }
    tensors.push_back(std::move(tensor));
  }
  nlohmann::ordered_json copied = nlohmann::ordered_json::array();
  for (const CopiedRow& row : report.copied) copied.push_back(row.name);
  nlohmann::ordered_json document{{"input", report.input_path},
                                  {"output", report.output_path},
                                  {"tensors", std::move(tensors)},
                                  {"copied", std::move(copied)},
                                  {"totals", SizesJson(TotalsOf(report), report.quantized)},
                                  {"output_file_bytes", report.output_file_bytes},
                                  {"seconds", absl::ToDoubleSeconds(report.time)}};
  // A path need not be UTF-8; the report must still be JSON.
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace quantd::cli
