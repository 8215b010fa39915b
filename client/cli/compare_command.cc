#include "client/cli/compare_command.h"

#include <CLI/CLI.hpp>
#include <cstring>
#include <memory>

#include "client/cli/comparison_report.h"
#include "client/cli/progress.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/safetensors_reader.h"

namespace quantd::cli {
namespace {

using server::SafetensorsEntry;
using server::SafetensorsReader;

constexpr char kDefinitions[] =
    "For each tensor that both files hold, with a from A, b from B, widened to float64:\n"
    "  MSE          sum (a-b)^2 / number of pairs\n"
    "  max |error|  max |a-b|\n"
    "  SNR dB       10 log10( sum a^2 / sum (a-b)^2 ); inf (JSON: null) for no error\n"
    "  cosine       sum a b / sqrt( sum a^2 sum b^2 ); 1 where both are all zero, 0 where one is\n"
    "  differing    pairs with a != b; two NaN are equal\n"
    "Pairs with a NaN or an infinity are left out of the first four and counted. F64, F32, F16 and BF16 compare with\n"
    "each other; I8 to U32 with their own type; all other types as bits with their own type. The totals take all "
    "float\n"
    "elements as one tensor. Exit code 1: a tensor is in one file only, or its shape or kind of type differs.";

// Reading goes from front to back, so what is behind may leave memory.
constexpr uint64_t kReleaseElements = 4u << 20;

class Comparer {
 public:
  Comparer(const SafetensorsReader& first, const SafetensorsReader& second, Environment& environment,
           Progress& progress)
      : first_(first), second_(second), environment_(environment), progress_(progress) {}

  ComparedRow Compare(const SafetensorsEntry& a, const SafetensorsEntry& b) {
    progress_.Begin(a.name, a.size_bytes());
    ComparedRow row{
        a.name, std::string(a.dtype.name), std::string(b.dtype.name), a.shape, b.shape, ComparisonKind::kDtypeDiffers,
        {}};
    if (a.shape != b.shape) {
      row.kind = ComparisonKind::kShapeDiffers;
    } else if (CanCompareValues(a.dtype, b.dtype)) {
      row.kind = ComparisonKind::kValues;
      row.statistics = CompareValues(a.dtype, first_.BytesOf(a), b.dtype, second_.BytesOf(b),
                                     [&](uint64_t elements) { return Advance(a, b, elements); });
    } else if (a.dtype == b.dtype) {
      row.kind = ComparisonKind::kBits;
      row.statistics = CompareBits(a, b);
    }
    first_.Release(first_.BytesOf(a));
    second_.Release(second_.BytesOf(b));
    progress_.End();
    return row;
  }

 private:
  bool Advance(const SafetensorsEntry& a, const SafetensorsEntry& b, uint64_t elements) {
    if (elements % kReleaseElements == 0) {
      progress_.Update(elements * a.dtype.bits / 8);
      first_.Release(first_.BytesOf(a).first(elements * a.dtype.bits / 8));
      second_.Release(second_.BytesOf(b).first(elements * b.dtype.bits / 8));
    }
    return !environment_.cancel.cancelled();
  }

  // Counts elements, or whole bytes where an element is narrower than one.
  ErrorStatistics CompareBits(const SafetensorsEntry& a, const SafetensorsEntry& b) {
    const std::span<const std::byte> first = first_.BytesOf(a);
    const std::span<const std::byte> second = second_.BytesOf(b);
    const size_t width = a.dtype.bits % 8 == 0 ? a.dtype.bits / 8 : 1;
    ErrorStatistics statistics;
    statistics.elements = first.size() / width;
    for (size_t i = 0; i < first.size() && !environment_.cancel.cancelled(); i += width) {
      statistics.differing += std::memcmp(first.data() + i, second.data() + i, width) != 0;
    }
    return statistics;
  }

  const SafetensorsReader& first_;
  const SafetensorsReader& second_;
  Environment& environment_;
  Progress& progress_;
};

}  // namespace

void AddCompareCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* command = app.add_subcommand("compare", "Say how far the tensors of two safetensors files are apart");
  command->footer(kDefinitions);
  command->add_option("A", arguments->first_path, "Safetensors file, the reference")->required();
  command->add_option("B", arguments->second_path, "Safetensors file")->required();
  command->add_flag("--exact", arguments->exact, "Exit with 1 also if any element or type differs");
  command->add_flag("--json", arguments->json, "Print the result, or the error, as JSON on stdout");
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunCompare(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunCompare(const CompareArguments& arguments, Environment& environment) {
  const auto first = SafetensorsReader::Open(arguments.first_path);
  if (!first.ok()) return WithExitCode(first.status(), ExitCode::kFile);
  const auto second = SafetensorsReader::Open(arguments.second_path);
  if (!second.ok()) return WithExitCode(second.status(), ExitCode::kFile);

  ComparisonReport report{arguments.first_path, arguments.second_path, {}, {}, {}};
  std::vector<std::pair<const SafetensorsEntry*, const SafetensorsEntry*>> pairs;
  uint64_t total_bytes = 0;
  for (const SafetensorsEntry& entry : (*first)->tensors()) {
    const SafetensorsEntry* other = (*second)->Find(entry.name);
    if (other == nullptr) {
      report.only_in_first.push_back(entry.name);
    } else {
      pairs.emplace_back(&entry, other);
      total_bytes += entry.size_bytes();
    }
  }
  for (const SafetensorsEntry& entry : (*second)->tensors()) {
    if ((*first)->Find(entry.name) == nullptr) report.only_in_second.push_back(entry.name);
  }
  {
    // Comparing is quick: plain lines for every tensor would only bury the result.
    std::ostream silent(nullptr);
    Progress progress(environment.err_is_terminal ? environment.err : silent, environment.err_is_terminal,
                      environment.clock, "comparing", pairs.size(), total_bytes);
    Comparer comparer(**first, **second, environment, progress);
    for (const auto& [a, b] : pairs) {
      report.rows.push_back(comparer.Compare(*a, *b));
      if (environment.cancel.cancelled()) return absl::CancelledError("interrupted");
    }
  }
  for (const SafetensorsReader* reader : {first->get(), second->get()}) {
    QUANTD_RETURN_IF_ERROR(WithExitCode(reader->StillWhole(), ExitCode::kFile));
  }
  environment.out << (arguments.json ? FormatJson(report) : FormatTable(report));
  const bool same = arguments.exact ? report.SameElements() : report.SameTensors();
  return same ? ExitCode::kOk : ExitCode::kDiffers;
}

}  // namespace quantd::cli
