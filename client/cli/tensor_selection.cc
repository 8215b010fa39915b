#include "client/cli/tensor_selection.h"

#include <re2/re2.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using server::Quoted;
using server::SafetensorsEntry;

bool IsFloat(const SafetensorsEntry& entry) {
  const std::optional<DataType> type = DataTypeNamed(entry.dtype.name);
  return type.has_value() && InfoOf(*type).is_float;
}

// Part of a tensor that is quantized already.
bool IsSegment(const SafetensorsEntry& entry, const ConvertedTensors& converted) {
  const size_t dot = entry.name.rfind('.');
  return dot != std::string::npos && converted.count(entry.name.substr(0, dot)) > 0;
}

}  // namespace

absl::StatusOr<std::vector<const SafetensorsEntry*>> SelectTensors(const std::vector<SafetensorsEntry>& tensors,
                                                                   const ConvertedTensors& converted,
                                                                   const SelectionArguments& arguments) {
  // RE2 runs in linear time, so no expression can hang the program.
  const RE2 include(arguments.include, RE2::Quiet);
  if (!include.ok()) {
    return UsageError(absl::StrCat("--include ", Quoted(arguments.include), ": ", include.error()));
  }
  std::vector<const SafetensorsEntry*> selected;
  for (const SafetensorsEntry& entry : tensors) {
    const bool wanted = entry.shape.size() >= arguments.rank_min && RE2::PartialMatch(entry.name, include);
    if (wanted && IsFloat(entry) && !IsSegment(entry, converted)) selected.push_back(&entry);
  }
  if (selected.empty()) {
    return UsageError(
        "no float32, float16 or bfloat16 tensor fits; see the names with `quantctl compare FILE FILE`, and check "
        "--include and --min-rank");
  }
  return selected;
}

}  // namespace quantd::cli
