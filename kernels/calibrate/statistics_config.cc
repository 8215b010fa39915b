#include "kernels/calibrate/statistics_config.h"

#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"

namespace quantd {
namespace {

template <class T>
struct Named {
  std::string_view name;
  T value;
};

constexpr std::array<Named<StatisticsGrouping>, 3> kGroupings = {{{"tensor", StatisticsGrouping::kTensor},
                                                                  {"channel", StatisticsGrouping::kChannel},
                                                                  {"group", StatisticsGrouping::kGroup}}};
constexpr std::array<Named<StatisticsCollection>, 3> kCollections = {
    {{"range", StatisticsCollection::kRange},
     {"distribution", StatisticsCollection::kDistribution},
     {"importance", StatisticsCollection::kImportance}}};

absl::Status Invalid(std::string_view field, const std::string& message) {
  return InvalidArgument(reason::kInvalidStatisticsConfig, message, {{"field", std::string(field)}});
}

template <class T, size_t kCount>
absl::Status ParseName(const std::array<Named<T>, kCount>& table, std::string_view field, const std::string& text,
                       T& value) {
  std::string possible;
  for (const auto& entry : table) {
    if (entry.name == text) {
      value = entry.value;
      return absl::OkStatus();
    }
    possible.append(possible.empty() ? "" : ", ").append(entry.name);
  }
  return Invalid(field, absl::StrCat("there is no ", std::string(field), " '", text, "'; possible: ", possible));
}

template <class Integer>
absl::Status ParseInteger(std::string_view field, const std::string& text, Integer& value) {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stopped == end) return absl::OkStatus();
  return Invalid(field, absl::StrCat(std::string(field), " '", text, "' is no integer of its range"));
}

template <class T, size_t kCount>
std::string NameIn(const std::array<Named<T>, kCount>& table, T value) {
  return std::string(table[static_cast<size_t>(value)].name);
}

}  // namespace

absl::StatusOr<StatisticsConfig> ParseStatisticsConfig(const std::map<std::string, std::string>& fields) {
  StatisticsConfig config;
  std::optional<StatisticsCollection> collection;
  bool has_group_size = false;
  bool has_axis = false;
  for (const auto& [field, text] : fields) {
    if (field == "grouping") {
      QUANTD_RETURN_IF_ERROR(ParseName(kGroupings, field, text, config.grouping));
    } else if (field == "collect") {
      QUANTD_RETURN_IF_ERROR(ParseName(kCollections, field, text, collection.emplace()));
    } else if (field == "axis") {
      QUANTD_RETURN_IF_ERROR(ParseInteger(field, text, config.axis));
      has_axis = true;
    } else if (field == "group_size") {
      QUANTD_RETURN_IF_ERROR(ParseInteger(field, text, config.group_size));
      has_group_size = true;
    } else {
      return Invalid(
          field, absl::StrCat("statistics have no field '", field, "'; possible: grouping, collect, axis, group_size"));
    }
  }
  const bool of_tensor = config.grouping == StatisticsGrouping::kTensor;
  config.collection =
      collection.value_or(of_tensor ? StatisticsCollection::kDistribution : StatisticsCollection::kRange);
  if (has_axis && config.grouping != StatisticsGrouping::kChannel) {
    return Invalid("axis", "only grouping channel has an axis; leave it out");
  }
  if (has_group_size && of_tensor) return Invalid("group_size", "grouping tensor has no groups; leave it out");
  if (!has_group_size && config.grouping == StatisticsGrouping::kGroup) {
    return Invalid("group_size", "grouping group needs a group_size");
  }
  QUANTD_RETURN_IF_ERROR(CheckStatisticsConfig(config));
  return config;
}

absl::Status CheckStatisticsConfig(const StatisticsConfig& config) {
  if (static_cast<size_t>(config.grouping) >= kGroupings.size()) return Invalid("grouping", "no such grouping");
  if (static_cast<size_t>(config.collection) >= kCollections.size()) return Invalid("collect", "no such collection");
  const StatisticsConfig defaults;
  const bool of_tensor = config.grouping == StatisticsGrouping::kTensor;
  if (config.collection == StatisticsCollection::kDistribution && !of_tensor) {
    return Invalid("collect", "a distribution is collected of grouping tensor only; send collect=range or importance");
  }
  if (config.grouping != StatisticsGrouping::kChannel && config.axis != defaults.axis) {
    return Invalid("axis", "only grouping channel has an axis");
  }
  if (config.axis > kStatisticsAxisMax || config.axis < -kStatisticsAxisMax - 1) {
    return Invalid("axis", absl::StrCat("axis ", config.axis, " is not in [", -kStatisticsAxisMax - 1, ", ",
                                        kStatisticsAxisMax, "]"));
  }
  if (of_tensor ? config.group_size != defaults.group_size
                : config.group_size < 1 || config.group_size > kStatisticsGroupMax) {
    return Invalid("group_size", absl::StrCat("group_size ", config.group_size, " is not in [1, ",
                                              of_tensor ? 1 : kStatisticsGroupMax, "]"));
  }
  return absl::OkStatus();
}

std::map<std::string, std::string> ToFields(const StatisticsConfig& config) {
  std::map<std::string, std::string> fields = {{"grouping", NameIn(kGroupings, config.grouping)},
                                               {"collect", NameIn(kCollections, config.collection)}};
  if (config.grouping == StatisticsGrouping::kChannel) fields["axis"] = std::to_string(config.axis);
  if (config.grouping != StatisticsGrouping::kTensor) fields["group_size"] = std::to_string(config.group_size);
  return fields;
}

uint64_t ConfigHash(const StatisticsConfig& config) {
  // FNV-1a, of the canonical fields.
  uint64_t hash = 0xcbf29ce484222325u;
  for (const auto& [field, text] : ToFields(config)) {
    for (const char c : absl::StrCat(field, "=", text, "\n")) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    }
  }
  return hash;
}

}  // namespace quantd
