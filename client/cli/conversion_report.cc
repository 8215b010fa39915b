#include "client/cli/conversion_report.h"

#include <nlohmann/json.hpp>

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
  Table table({{"tensor", Table::Align::kLeft},
               {"dtype", Table::Align::kLeft},
               {"shape", Table::Align::kRight},
               {"bits/weight", Table::Align::kRight},
               {"in", Table::Align::kRight},
               {"out", Table::Align::kRight},
               {"GB/s", Table::Align::kRight}});
  for (const ConvertedRow& row : report.converted) {
    table.AddRow(Cells(server::Printable(row.name), std::string(InfoOf(row.values_dtype).name), HumanShape(row.shape),
                       SizesOf(report, row), report.quantized));
  }
  table.AddRule();
  table.AddRow(Cells(absl::StrCat("total of ", report.converted.size()), "", "", TotalsOf(report), report.quantized));
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
      tensor["nonfinite_count"] = row.summary.nonfinite_count;
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
