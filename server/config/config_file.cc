#include "server/config/config_file.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>
#include <toml++/toml.h>

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"
#include "quantd/config/v1/server_config.pb.h"
#include "server/config/names.h"

namespace quantd::server {
namespace {

using google::protobuf::util::TimeUtil;
using nlohmann::json;

absl::Status InFile(const std::string& problem) { return absl::InvalidArgumentError("configuration file: " + problem); }

bool IsSize(const std::string& key) { return key == "bytes_max" || key.find("_bytes") != std::string::npos; }

// "4MiB" as a number of bytes.
std::optional<uint64_t> ParseSize(std::string_view text) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed_to, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(parsed_to, static_cast<size_t>(end - parsed_to));
  int shift = 0;
  if (unit == "KiB") {
    shift = 10;
  } else if (unit == "MiB") {
    shift = 20;
  } else if (unit == "GiB") {
    shift = 30;
  } else if (!unit.empty()) {
    return std::nullopt;
  }
  if (number > (std::numeric_limits<uint64_t>::max() >> shift)) return std::nullopt;
  return number << shift;
}

absl::Status ReplaceSizes(json& object) {
  for (auto& [key, value] : object.items()) {
    if (value.is_object()) QUANTD_RETURN_IF_ERROR(ReplaceSizes(value));
    if (!IsSize(key) || !value.is_string()) continue;
    const std::string text = value.get<std::string>();
    const std::optional<uint64_t> size = ParseSize(text);
    if (!size) {
      return InFile(absl::StrCat(key, " is \"", text,
                                 "\"; write a number of bytes, or a string with KiB, MiB or GiB (\"4MiB\")"));
    }
    value = *size;
  }
  return absl::OkStatus();
}

absl::StatusOr<config::v1::ServerConfig> ParseProto(const std::string& text) {
  json object;
  try {
    const toml::table table = toml::parse(text);
    std::ostringstream formatted;
    formatted << toml::json_formatter{table};
    object = json::parse(formatted.str());
  } catch (const toml::parse_error& error) {
    return InFile("line " + std::to_string(error.source().begin.line) + ", column " +
                  std::to_string(error.source().begin.column) + ": " + std::string(error.description()));
  }
  QUANTD_RETURN_IF_ERROR(ReplaceSizes(object));

  config::v1::ServerConfig message;
  const auto status = google::protobuf::util::JsonStringToMessage(object.dump(), &message);
  if (!status.ok()) {
    return InFile(std::string(status.message()) +
                  "; `quantd --print-config` prints every key, with a value of the right type");
  }
  return message;
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  return TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(duration));
}

void ApplyLimits(const config::v1::Limits& from, Limits& to) {
  if (from.has_slot_bytes()) to.slot_bytes = from.slot_bytes();
  if (from.has_slots_max()) to.slots_max = from.slots_max();
  if (from.has_slots_per_stream_max()) to.slots_per_stream_max = from.slots_per_stream_max();
  if (from.has_window_bytes()) to.window_bytes = from.window_bytes();
  if (from.has_windows_bytes_max()) to.windows_bytes_max = from.windows_bytes_max();
  if (from.has_response_data_bytes()) to.response_data_bytes = from.response_data_bytes();
  if (from.has_spool_bytes_max()) to.spool_bytes_max = from.spool_bytes_max();
  if (from.has_spool_bytes_per_stream_max()) to.spool_bytes_per_stream_max = from.spool_bytes_per_stream_max();
  if (from.has_streams_max()) to.streams_max = from.streams_max();
  if (from.has_streams_per_principal_max()) to.streams_per_principal_max = from.streams_per_principal_max();
  if (from.has_overrides_max()) to.overrides_max = from.overrides_max();
  if (from.has_name_bytes_max()) to.name_bytes_max = from.name_bytes_max();
  if (from.has_stall_max()) to.stall_max = FromProto(from.stall_max());
  if (from.has_slots_per_principal_max()) to.slots_per_principal_max = from.slots_per_principal_max();
  if (from.has_slot_wait_max()) to.slot_wait_max = FromProto(from.slot_wait_max());
  if (from.has_load_bytes_max()) to.load_bytes_max = from.load_bytes_max();
  if (from.has_load_bytes_per_principal_max()) to.load_bytes_per_principal_max = from.load_bytes_per_principal_max();
  if (from.has_parked_bytes_max()) to.parked_bytes_max = from.parked_bytes_max();
  if (from.has_parked_bytes_per_principal_max()) {
    to.parked_bytes_per_principal_max = from.parked_bytes_per_principal_max();
  }
  if (from.has_park_time_max()) to.park_time_max = FromProto(from.park_time_max());
}

void FillLimits(const Limits& from, config::v1::Limits& to) {
  to.set_slot_bytes(from.slot_bytes);
  to.set_slots_max(from.slots_max);
  to.set_slots_per_stream_max(from.slots_per_stream_max);
  to.set_window_bytes(from.window_bytes);
  to.set_windows_bytes_max(from.windows_bytes_max);
  to.set_response_data_bytes(from.response_data_bytes);
  to.set_spool_bytes_max(from.spool_bytes_max);
  to.set_spool_bytes_per_stream_max(from.spool_bytes_per_stream_max);
  to.set_streams_max(from.streams_max);
  to.set_streams_per_principal_max(from.streams_per_principal_max);
  to.set_overrides_max(from.overrides_max);
  to.set_name_bytes_max(from.name_bytes_max);
  *to.mutable_stall_max() = ToProto(from.stall_max);
  to.set_slots_per_principal_max(from.slots_per_principal_max);
  *to.mutable_slot_wait_max() = ToProto(from.slot_wait_max);
  to.set_load_bytes_max(from.load_bytes_max);
  to.set_load_bytes_per_principal_max(from.load_bytes_per_principal_max);
  to.set_parked_bytes_max(from.parked_bytes_max);
  to.set_parked_bytes_per_principal_max(from.parked_bytes_per_principal_max);
  *to.mutable_park_time_max() = ToProto(from.park_time_max);
}

void ApplyCalibration(const config::v1::Calibration& from, CalibrationLimits& to) {
  if (from.has_session_bytes_max()) to.session_bytes_max = from.session_bytes_max();
  if (from.has_bytes_max()) to.bytes_max = from.bytes_max();
  if (from.has_sessions_max()) to.sessions_max = from.sessions_max();
  if (from.has_sessions_per_principal_max()) to.sessions_per_principal_max = from.sessions_per_principal_max();
  if (from.has_ttl()) to.ttl = FromProto(from.ttl());
}

void FillCalibration(const CalibrationLimits& from, config::v1::Calibration& to) {
  to.set_session_bytes_max(from.session_bytes_max);
  to.set_bytes_max(from.bytes_max);
  to.set_sessions_max(from.sessions_max);
  to.set_sessions_per_principal_max(from.sessions_per_principal_max);
  *to.mutable_ttl() = ToProto(from.ttl);
}

absl::Status ApplyGpu(const config::v1::Gpu& from, GpuConfig& to) {
  if (from.has_mode()) {
    QUANTD_ASSIGN_OR_RETURN(to.mode, ValueNamed("gpu.mode", from.mode(), kGpuModeNames));
  }
  if (from.has_worker_path()) to.worker_path = from.worker_path();
  if (from.has_memory_budget_bytes()) to.memory_budget_bytes = from.memory_budget_bytes();
  if (from.has_units_in_flight_max()) to.units_in_flight_max = from.units_in_flight_max();
  if (from.has_min_batch_bytes()) to.min_batch_bytes = from.min_batch_bytes();
  if (from.has_copy_bytes_per_second_max()) to.copy_bytes_per_second_max = from.copy_bytes_per_second_max();
  if (from.has_duty_percent_max()) to.duty_percent_max = from.duty_percent_max();
  if (from.has_unit_deadline()) to.unit_deadline = FromProto(from.unit_deadline());
  if (from.has_idle_trim()) to.idle_trim = FromProto(from.idle_trim());
  if (from.has_idle_exit()) to.idle_exit = FromProto(from.idle_exit());
  return absl::OkStatus();
}

void FillGpu(const GpuConfig& from, config::v1::Gpu& to) {
  to.set_mode(NameOf(from.mode, kGpuModeNames));
  to.set_worker_path(from.worker_path);
  to.set_memory_budget_bytes(from.memory_budget_bytes);
  to.set_units_in_flight_max(from.units_in_flight_max);
  to.set_min_batch_bytes(from.min_batch_bytes);
  to.set_copy_bytes_per_second_max(from.copy_bytes_per_second_max);
  to.set_duty_percent_max(from.duty_percent_max);
  *to.mutable_unit_deadline() = ToProto(from.unit_deadline);
  *to.mutable_idle_trim() = ToProto(from.idle_trim);
  *to.mutable_idle_exit() = ToProto(from.idle_exit);
}

config::v1::ServerConfig ToProto(const ServerConfig& config) {
  config::v1::ServerConfig message;
  for (const std::string& listen : config.listen) message.add_listen(listen);
  message.set_admin_listen(config.admin_listen);
  message.mutable_unix_listener()->set_mode(config.unix_mode);
  for (uint32_t uid : config.unix_allowed_uids) message.mutable_unix_listener()->add_allowed_uids(uid);
  message.set_compute_threads(config.compute_threads);
  message.set_cpu_target(config.cpu_target);
  message.set_spool_directory(config.spool_directory);
  message.set_reflection(config.reflection);
  message.set_transport_bytes_max(config.transport_bytes_max);
  FillLimits(config.limits, *message.mutable_limits());
  for (const PrincipalConfig& principal : config.principals) {
    config::v1::Principal& entry = *message.add_principals();
    entry.set_name(principal.name);
    entry.set_weight(principal.weight);
  }
  FillGpu(config.gpu, *message.mutable_gpu());
  FillCalibration(config.calibration, *message.mutable_calibration());
  message.mutable_logging()->set_level(NameOf(config.log_level, kLogLevelNames));
  message.mutable_logging()->set_format(NameOf(config.log_format, kLogFormatNames));
  *message.mutable_drain()->mutable_delay() = ToProto(config.drain_delay);
  *message.mutable_drain()->mutable_deadline() = ToProto(config.drain_deadline);
  return message;
}

toml::table ToTomlTable(const json& object);

toml::array ToToml(const json& array) {
  toml::array result;
  for (const json& value : array) {
    if (value.is_object()) {
      result.push_back(ToTomlTable(value));
    } else if (value.is_string()) {
      result.push_back(value.get<std::string>());
    } else {
      result.push_back(value.get<int64_t>());
    }
  }
  return result;
}

toml::table ToTomlTable(const json& object) {
  toml::table table;
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      table.insert(key, ToTomlTable(value));
    } else if (value.is_array()) {
      table.insert(key, ToToml(value));
    } else if (value.is_boolean()) {
      table.insert(key, value.get<bool>());
    } else if (value.is_number()) {
      table.insert(key, value.get<int64_t>());
    } else {
      table.insert(key, value.get<std::string>());
    }
  }
  return table;
}

}  // namespace

absl::StatusOr<ServerConfig> ApplyToml(const std::string& text, ServerConfig base) {
  QUANTD_ASSIGN_OR_RETURN(const config::v1::ServerConfig message, ParseProto(text));
  if (message.listen_size() > 0) base.listen.assign(message.listen().begin(), message.listen().end());
  if (message.has_admin_listen()) base.admin_listen = message.admin_listen();
  if (message.unix_listener().has_mode()) base.unix_mode = message.unix_listener().mode();
  if (message.unix_listener().allowed_uids_size() > 0) {
    base.unix_allowed_uids.assign(message.unix_listener().allowed_uids().begin(),
                                  message.unix_listener().allowed_uids().end());
  }
  if (message.has_compute_threads()) base.compute_threads = message.compute_threads();
  if (message.has_cpu_target()) base.cpu_target = message.cpu_target();
  if (message.has_spool_directory()) base.spool_directory = message.spool_directory();
  if (message.has_reflection()) base.reflection = message.reflection();
  if (message.has_transport_bytes_max()) base.transport_bytes_max = message.transport_bytes_max();
  ApplyLimits(message.limits(), base.limits);
  if (message.principals_size() > 0) base.principals.clear();
  for (const config::v1::Principal& principal : message.principals()) {
    base.principals.push_back({principal.name(), principal.has_weight() ? principal.weight() : 1});
  }
  QUANTD_RETURN_IF_ERROR(ApplyGpu(message.gpu(), base.gpu));
  ApplyCalibration(message.calibration(), base.calibration);
  if (message.logging().has_level()) {
    QUANTD_ASSIGN_OR_RETURN(base.log_level, ValueNamed("logging.level", message.logging().level(), kLogLevelNames));
  }
  if (message.logging().has_format()) {
    QUANTD_ASSIGN_OR_RETURN(base.log_format, ValueNamed("logging.format", message.logging().format(), kLogFormatNames));
  }
  if (message.drain().has_delay()) base.drain_delay = FromProto(message.drain().delay());
  if (message.drain().has_deadline()) base.drain_deadline = FromProto(message.drain().deadline());
  return base;
}

std::string ToToml(const ServerConfig& config) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(ToProto(config), &text, options);
  if (!status.ok()) return std::string();
  json object = json::parse(text);
  // Protobuf prints 64-bit numbers as strings.
  if (!ReplaceSizes(object).ok()) return std::string();
  std::ostringstream formatted;
  formatted << ToTomlTable(object) << '\n';
  return formatted.str();
}

}  // namespace quantd::server
