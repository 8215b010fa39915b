#include "client/cli/params_file.h"

#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/file_ops.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using nlohmann::json;
using server::Quoted;

// Every statistic that a tensor can be given.
struct StatisticKey {
  const char* name;
  std::optional<float> KnownStatistics::* target;
};
constexpr StatisticKey kStatisticKeys[] = {{"offset", &KnownStatistics::offset},
                                           {"global_scale", &KnownStatistics::global_scale},
                                           {"amax", &KnownStatistics::amax},
                                           {"min", &KnownStatistics::min},
                                           {"max", &KnownStatistics::max}};

std::string KnownKeys() {
  std::string keys;
  for (const StatisticKey& key : kStatisticKeys) absl::StrAppend(&keys, keys.empty() ? "" : ", ", key.name);
  return keys;
}

absl::Status SetStatistic(const std::string& tensor, const std::string& key, const json& value,
                          KnownStatistics& statistics) {
  for (const StatisticKey& known : kStatisticKeys) {
    if (key != known.name) continue;
    const float number = value.is_number() ? static_cast<float>(value.get<double>()) : NAN;
    if (!std::isfinite(number)) {
      return UsageError(absl::StrCat("tensor ", Quoted(tensor), ": ", Quoted(key), " is not a finite float32 number"));
    }
    statistics.*known.target = number;
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("tensor ", Quoted(tensor), ": unknown key ", Quoted(key), "; known: ", KnownKeys()));
}

// The JSON library keeps the last of equal keys without a word; this finds them.
class DuplicateKeys {
 public:
  bool operator()(int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event == json::parse_event_t::key && !open_.back().insert(parsed.get<std::string>()).second) {
      first_ = parsed.get<std::string>();
    }
    return true;
  }
  const std::optional<std::string>& first() const { return first_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::optional<std::string> first_;
};

}  // namespace

absl::StatusOr<TensorParams> ParseParams(const std::string& text) {
  DuplicateKeys duplicates;
  const json document = json::parse(text, std::ref(duplicates), /*allow_exceptions=*/false);
  if (!document.is_object()) {
    return UsageError("the parameters are not a JSON object, as {\"tensor\": {\"offset\": 0.5}}");
  }
  if (duplicates.first().has_value()) {
    return UsageError(absl::StrCat("the parameters name ", Quoted(*duplicates.first()), " twice"));
  }
  TensorParams params;
  for (const auto& [tensor, object] : document.items()) {
    if (!object.is_object()) {
      return UsageError(absl::StrCat("tensor ", Quoted(tensor), ": not an object, as {\"offset\": 0.5}"));
    }
    KnownStatistics& statistics = params[tensor];
    for (const auto& [key, value] : object.items()) {
      QUANTD_RETURN_IF_ERROR(SetStatistic(tensor, key, value, statistics));
    }
  }
  return params;
}

absl::StatusOr<TensorParams> ReadParamsFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return WithExitCode(server::FileError("cannot open " + Quoted(path), errno), ExitCode::kFile);
  std::string text(kParamsFileBytesMax + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return WithExitCode(server::FileError("cannot read " + Quoted(path), EIO), ExitCode::kFile);
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kParamsFileBytesMax) {
    return UsageError(absl::StrCat(Quoted(path), " is longer than ", kParamsFileBytesMax, " bytes"));
  }
  absl::StatusOr<TensorParams> params = ParseParams(text);
  if (params.ok()) return params;
  return UsageError(absl::StrCat(Quoted(path), ": ", std::string(params.status().message())));
}

}  // namespace quantd::cli
