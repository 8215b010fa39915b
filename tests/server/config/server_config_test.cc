#include "server/config/server_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

TEST(ServerConfig, DefaultsAreValid) { EXPECT_TRUE(Validate(ServerConfig()).ok()) << Validate(ServerConfig()); }

TEST(ServerConfig, NeedsNoListenerInsideAnotherProgram) {
  ServerConfig config;
  config.listen.clear();
  EXPECT_TRUE(Validate(config).ok()) << Validate(config);
}

struct Limit {
  const char* field;
  std::function<void(ServerConfig&)> within;  // the last value that is allowed
  std::function<void(ServerConfig&)> beyond;  // the first that is not
};

class ServerConfigLimit : public ::testing::TestWithParam<Limit> {};

TEST_P(ServerConfigLimit, IsTheLastValueAllowed) {
  ServerConfig config;
  GetParam().within(config);
  EXPECT_TRUE(Validate(config).ok()) << Validate(config);
}

TEST_P(ServerConfigLimit, RefusesTheNextValueAndNamesTheFieldAndWhatToDo) {
  ServerConfig config;
  GetParam().beyond(config);
  const absl::Status status = Validate(config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().field));
  EXPECT_THAT(std::string(status.message()), HasSubstr("choose"));
}

Limit Of(const char* field, std::function<void(ServerConfig&)> within, std::function<void(ServerConfig&)> beyond) {
  return Limit{field, std::move(within), std::move(beyond)};
}

#define SET(...) [](ServerConfig& config) { config.__VA_ARGS__; }

INSTANTIATE_TEST_SUITE_P(
    All, ServerConfigLimit,
    ::testing::Values(
        Of("listen", SET(listen.assign(16, ":0")), SET(listen.assign(17, ":0"))),
        Of("unix_listener.mode", SET(unix_mode = std::string("0600")), SET(unix_mode = std::string("0577"))),
        Of("unix_listener.mode", SET(unix_mode = std::string("0777")), SET(unix_mode = std::string("1000"))),
        Of("unix_listener.mode", SET(unix_mode = std::string("0660")), SET(unix_mode = std::string("660"))),
        Of("unix_listener.mode", SET(unix_mode = std::string("0660")), SET(unix_mode = std::string("0668"))),
        Of("unix_listener.allowed_uids", SET(unix_allowed_uids.assign(64, 1)), SET(unix_allowed_uids.assign(65, 1))),
        Of("compute_threads", SET(compute_threads = 1024), SET(compute_threads = 1025)),
        Of("spool_directory", SET(spool_directory = std::string("/")), SET(spool_directory = std::string(""))),
        Of("transport_bytes_max", SET(transport_bytes_max = 64u << 20), SET(transport_bytes_max = (64u << 20) - 1)),
        Of("transport_bytes_max", SET(transport_bytes_max = 64ull << 30), SET(transport_bytes_max = (64ull << 30) + 1)),
        // Every field of the limits by one of its ends; Validate(Limits) has tests of its own.
        Of("limits.slot_bytes", SET(limits.slot_bytes = kSlotBytesMin), SET(limits.slot_bytes = kSlotBytesMin - 4096)),
        Of("limits.slots_max", SET(limits.slots_max = 4), SET(limits.slots_max = 1)),
        Of("limits.slots_per_stream_max", SET(limits.slots_per_stream_max = 2), SET(limits.slots_per_stream_max = 1)),
        Of("limits.window_bytes", SET(limits.window_bytes = kWindowBytesMax),
           SET(limits.window_bytes = kWindowBytesMax + 1)),
        Of("limits.response_data_bytes", SET(limits.response_data_bytes = 4096),
           SET(limits.response_data_bytes = 4095)),
        Of("limits.spool_bytes_max", SET(limits.spool_bytes_max = kSpoolBytesMax),
           SET(limits.spool_bytes_max = kSpoolBytesMax + 1)),
        Of("limits.spool_bytes_per_stream_max", SET(limits.spool_bytes_per_stream_max = 4ull << 30),
           SET(limits.spool_bytes_per_stream_max = (4ull << 30) + 1)),
        Of("limits.streams_max", SET(limits.streams_max = 65536), SET(limits.streams_max = 65537)),
        Of("limits.streams_per_principal_max", SET(limits.streams_per_principal_max = 1),
           SET(limits.streams_per_principal_max = 0)),
        Of("limits.overrides_max", SET(limits.overrides_max = 1024), SET(limits.overrides_max = 1025)),
        Of("limits.name_bytes_max", SET(limits.name_bytes_max = 4096), SET(limits.name_bytes_max = 4097)),
        Of("limits.stall_max", SET(limits.stall_max = absl::Hours(24)), SET(limits.stall_max = absl::Hours(25))),
        Of("gpu.memory_budget_bytes", SET(gpu.memory_budget_bytes = 1ull << 30),
           SET(gpu.memory_budget_bytes = (1ull << 30) - 1)),
        Of("gpu.units_in_flight_max", SET(gpu.units_in_flight_max = 64), SET(gpu.units_in_flight_max = 65)),
        Of("gpu.min_batch_bytes", SET(gpu.min_batch_bytes = 0), SET(gpu.min_batch_bytes = (1ull << 30) + 1)),
        Of("gpu.copy_bytes_per_second_max", SET(gpu.copy_bytes_per_second_max = 1ull << 40),
           SET(gpu.copy_bytes_per_second_max = (1ull << 40) + 1)),
        Of("limits.slots_per_principal_max", SET(limits.slots_per_principal_max = 4096),
           SET(limits.slots_per_principal_max = 4097)),
        Of("limits.slot_wait_max", SET(limits.slot_wait_max = absl::Milliseconds(10)),
           SET(limits.slot_wait_max = absl::ZeroDuration())),
        Of("limits.parked_bytes_max", SET(limits.parked_bytes_max = kSpoolBytesMax),
           SET(limits.parked_bytes_max = kSpoolBytesMax + 1)),
        Of("limits.parked_bytes_per_principal_max", SET(limits.parked_bytes_per_principal_max = 1),
           SET(limits.parked_bytes_per_principal_max = kSpoolBytesMax + 1)),
        Of("limits.park_time_max", SET(limits.park_time_max = absl::Hours(24)),
           SET(limits.park_time_max = absl::Hours(25))),
        Of("limits.load_bytes_max", SET(limits.load_bytes_max = 1 << 20), SET(limits.load_bytes_max = 1)),
        Of("principals.weight", SET(principals = {{.name = "uid:1", .weight = 1000}}),
           SET(principals = {{.name = "uid:1", .weight = 1001}})),
        Of("principals.weight", SET(principals = {{.name = "uid:1"}}),
           SET(principals = {{.name = "uid:1", .weight = 0}})),
        Of("gpu.duty_percent_max", SET(gpu.duty_percent_max = 1), SET(gpu.duty_percent_max = 0)),
        Of("gpu.duty_percent_max", SET(gpu.duty_percent_max = 100), SET(gpu.duty_percent_max = 101)),
        Of("gpu.unit_deadline", SET(gpu.unit_deadline = absl::Hours(1)), SET(gpu.unit_deadline = absl::ZeroDuration())),
        Of("gpu.idle_trim", SET(gpu.idle_trim = absl::ZeroDuration()), SET(gpu.idle_trim = absl::Hours(25))),
        Of("gpu.idle_exit", SET(gpu.idle_exit = absl::Hours(24 * 365)), SET(gpu.idle_exit = absl::ZeroDuration())),
        Of("drain.delay", SET(drain_delay = absl::Minutes(10)), SET(drain_delay = absl::Seconds(601))),
        Of("drain.delay", SET(drain_delay = absl::ZeroDuration()), SET(drain_delay = -absl::Seconds(1))),
        Of("drain.deadline", SET(drain_deadline = absl::Hours(1)), SET(drain_deadline = absl::Seconds(3601)))));

#undef SET

TEST(ServerConfig, RefusesAListenEntryThatIsNoAddress) {
  ServerConfig config;
  config.listen = {":0", "nowhere"};
  EXPECT_THAT(std::string(Validate(config).message()), HasSubstr("\"nowhere\""));
}

TEST(ServerConfig, RefusesAUnixAdminListener) {
  ServerConfig config;
  config.admin_listen = "unix:/run/admin.sock";
  EXPECT_THAT(std::string(Validate(config).message()), HasSubstr("admin_listen"));
}

TEST(ServerConfig, ComputesOnAsManyThreadsAsSaidElseOnEveryProcessor) {
  ServerConfig config;
  config.compute_threads = 7;
  EXPECT_EQ(ComputeThreads(config), 7u);
  config.compute_threads = 0;
  EXPECT_GE(ComputeThreads(config), 1u);
}

TEST(ServerConfig, RefusesAPrincipalThatIsNamedTwice) {
  ServerConfig config;
  config.principals = {{.name = "uid:7"}, {.name = "uid:7", .weight = 2}};
  EXPECT_THAT(std::string(Validate(config).message()), HasSubstr("uid:7 twice"));
}

TEST(ServerConfig, LeavesAPartToOthersOnlyWhereThereMayBeOthers) {
  ServerConfig config;
  config.listen = {":0"};
  EXPECT_EQ(SlotsPerPrincipalMax(EffectiveLimits(config)), config.limits.slots_max);
  EXPECT_EQ(LoadBytesPerPrincipalMax(EffectiveLimits(config)), config.limits.load_bytes_max);
  config.listen = {":0", "unix:/run/quantd.sock"};
  EXPECT_EQ(SlotsPerPrincipalMax(EffectiveLimits(config)), config.limits.slots_max * 3 / 4);
  EXPECT_EQ(LoadBytesPerPrincipalMax(EffectiveLimits(config)), config.limits.load_bytes_max / 4 * 3);
  config.limits.slots_per_principal_max = 2;
  config.listen = {":0"};
  EXPECT_EQ(SlotsPerPrincipalMax(EffectiveLimits(config)), 2u);
}

TEST(ServerConfig, ReadsTheModeAsOctal) { EXPECT_EQ(UnixMode(ServerConfig()), 0660u); }

}  // namespace
}  // namespace quantd::server
