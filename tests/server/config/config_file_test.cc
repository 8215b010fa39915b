#include "server/config/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A configuration with no value at its default.
ServerConfig Unusual() {
  ServerConfig config;
  config.listen = {"[::1]:1", "unix:/run/quantd \"quoted\".sock", ":0"};
  config.admin_listen = "127.0.0.1:2";
  config.unix_mode = "0606";
  config.unix_allowed_uids = {1000, 4294967294};
  config.compute_threads = 3;
  config.cpu_target = "scalar";
  config.spool_directory = "/var/tmp";
  config.reflection = false;
  config.transport_bytes_max = 1ull << 33;
  config.limits = Limits{.slot_bytes = 8u << 20,
                         .slots_max = 12,
                         .slots_per_stream_max = 3,
                         .slots_per_principal_max = 7,
                         .slot_wait_max = absl::Seconds(17),
                         .window_bytes = 9u << 20,
                         .windows_bytes_max = 77u << 20,
                         .response_data_bytes = 65536,
                         .spool_bytes_max = 5ull << 40,
                         .spool_bytes_per_stream_max = 5ull << 32,
                         .parked_bytes_max = 6ull << 31,
                         .parked_bytes_per_principal_max = 5ull << 31,
                         .park_time_max = absl::Seconds(19),
                         .streams_max = 99,
                         .streams_per_principal_max = 9,
                         .load_bytes_max = 7ull << 40,
                         .load_bytes_per_principal_max = 3ull << 40,
                         .overrides_max = 5,
                         .name_bytes_max = 77,
                         .stall_max = absl::Milliseconds(1500)};
  config.principals = {{"uid:1000", 3}, {"anonymous", 2}};
  config.gpu.duty_percent_max = 33;
  config.gpu.mode = GpuMode::kRequired;
  config.gpu.worker_path = "/opt/worker";
  config.gpu.memory_budget_bytes = 3ull << 30;
  config.gpu.units_in_flight_max = 7;
  config.gpu.min_batch_bytes = 77 << 10;
  config.gpu.copy_bytes_per_second_max = 5ull << 30;
  config.gpu.unit_deadline = absl::Milliseconds(2500);
  config.gpu.idle_trim = absl::Seconds(7);
  config.gpu.idle_exit = absl::Seconds(77);
  config.log_level = LogLevel::kError;
  config.log_format = LogFormat::kJson;
  config.drain_delay = absl::Seconds(5);
  config.drain_deadline = absl::Minutes(2);
  return config;
}

TEST(ConfigFile, WhatIsPrintedReadsBackAsTheSameConfiguration) {
  const std::string printed = ToToml(Unusual());
  const auto read = ApplyToml(printed, ServerConfig());
  ASSERT_TRUE(read.ok()) << read.status() << "\n" << printed;
  EXPECT_TRUE(Validate(*read).ok()) << Validate(*read);
  EXPECT_EQ(read->listen, Unusual().listen);
  EXPECT_EQ(read->admin_listen, Unusual().admin_listen);
  EXPECT_EQ(read->unix_mode, Unusual().unix_mode);
  EXPECT_EQ(read->unix_allowed_uids, Unusual().unix_allowed_uids);
  EXPECT_EQ(read->compute_threads, Unusual().compute_threads);
  EXPECT_EQ(read->cpu_target, Unusual().cpu_target);
  EXPECT_EQ(read->spool_directory, Unusual().spool_directory);
  EXPECT_EQ(read->reflection, Unusual().reflection);
  EXPECT_EQ(read->transport_bytes_max, Unusual().transport_bytes_max);
  EXPECT_EQ(read->limits.slot_bytes, Unusual().limits.slot_bytes);
  EXPECT_EQ(read->limits.slots_max, Unusual().limits.slots_max);
  EXPECT_EQ(read->limits.slots_per_stream_max, Unusual().limits.slots_per_stream_max);
  EXPECT_EQ(read->limits.window_bytes, Unusual().limits.window_bytes);
  EXPECT_EQ(read->limits.windows_bytes_max, Unusual().limits.windows_bytes_max);
  EXPECT_EQ(read->limits.response_data_bytes, Unusual().limits.response_data_bytes);
  EXPECT_EQ(read->limits.spool_bytes_max, Unusual().limits.spool_bytes_max);
  EXPECT_EQ(read->limits.spool_bytes_per_stream_max, Unusual().limits.spool_bytes_per_stream_max);
  EXPECT_EQ(read->limits.streams_max, Unusual().limits.streams_max);
  EXPECT_EQ(read->limits.streams_per_principal_max, Unusual().limits.streams_per_principal_max);
  EXPECT_EQ(read->limits.overrides_max, Unusual().limits.overrides_max);
  EXPECT_EQ(read->limits.name_bytes_max, Unusual().limits.name_bytes_max);
  EXPECT_EQ(read->limits.stall_max, Unusual().limits.stall_max);
  EXPECT_EQ(read->limits.slots_per_principal_max, Unusual().limits.slots_per_principal_max);
  EXPECT_EQ(read->limits.slot_wait_max, Unusual().limits.slot_wait_max);
  EXPECT_EQ(read->limits.load_bytes_max, Unusual().limits.load_bytes_max);
  EXPECT_EQ(read->limits.load_bytes_per_principal_max, Unusual().limits.load_bytes_per_principal_max);
  EXPECT_EQ(read->limits.parked_bytes_max, Unusual().limits.parked_bytes_max);
  EXPECT_EQ(read->limits.parked_bytes_per_principal_max, Unusual().limits.parked_bytes_per_principal_max);
  EXPECT_EQ(read->limits.park_time_max, Unusual().limits.park_time_max);
  ASSERT_EQ(read->principals.size(), 2u);
  EXPECT_EQ(read->principals[0].name, "uid:1000");
  EXPECT_EQ(read->principals[0].weight, 3u);
  EXPECT_EQ(read->gpu.duty_percent_max, Unusual().gpu.duty_percent_max);
  EXPECT_EQ(read->gpu.mode, Unusual().gpu.mode);
  EXPECT_EQ(read->gpu.worker_path, Unusual().gpu.worker_path);
  EXPECT_EQ(read->gpu.memory_budget_bytes, Unusual().gpu.memory_budget_bytes);
  EXPECT_EQ(read->gpu.units_in_flight_max, Unusual().gpu.units_in_flight_max);
  EXPECT_EQ(read->gpu.min_batch_bytes, Unusual().gpu.min_batch_bytes);
  EXPECT_EQ(read->gpu.copy_bytes_per_second_max, Unusual().gpu.copy_bytes_per_second_max);
  EXPECT_EQ(read->gpu.unit_deadline, Unusual().gpu.unit_deadline);
  EXPECT_EQ(read->gpu.idle_trim, Unusual().gpu.idle_trim);
  EXPECT_EQ(read->gpu.idle_exit, Unusual().gpu.idle_exit);
  EXPECT_EQ(read->log_level, Unusual().log_level);
  EXPECT_EQ(read->log_format, Unusual().log_format);
  EXPECT_EQ(read->drain_delay, Unusual().drain_delay);
  EXPECT_EQ(read->drain_deadline, Unusual().drain_deadline);
  EXPECT_EQ(ToToml(*read), printed);
}

TEST(ConfigFile, PrintsEveryDefaultToo) {
  const std::string printed = ToToml(ServerConfig());
  EXPECT_THAT(printed, HasSubstr("slot_bytes = " + std::to_string(Limits().slot_bytes)));
  EXPECT_THAT(printed, HasSubstr("compute_threads = 0"));
  EXPECT_THAT(printed, HasSubstr("reflection = true"));
  const auto read = ApplyToml(printed, Unusual());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->admin_listen, "");
}

TEST(ConfigFile, LeavesAloneWhatItDoesNotName) {
  const auto config = ApplyToml("[limits]\nslots_max = 48\n", Unusual());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->limits.slots_max, 48u);
  EXPECT_EQ(config->limits.streams_max, Unusual().limits.streams_max);
  EXPECT_EQ(config->listen, Unusual().listen);
}

TEST(ConfigFile, TakesSizesWithUnits) {
  const auto config = ApplyToml(
      "transport_bytes_max = '1GiB'\n[limits]\nslot_bytes = '2MiB'\nresponse_data_bytes = '64KiB'\n"
      "window_bytes = '1048576'\n",
      ServerConfig());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->transport_bytes_max, 1u << 30);
  EXPECT_EQ(config->limits.slot_bytes, 2u << 20);
  EXPECT_EQ(config->limits.response_data_bytes, 64u << 10);
  EXPECT_EQ(config->limits.window_bytes, 1u << 20);
}

struct BadFile {
  std::string toml;
  std::vector<std::string> says;
};

class RefusedConfigFile : public ::testing::TestWithParam<BadFile> {};

TEST_P(RefusedConfigFile, NamesWhatIsWrong) {
  const absl::Status status = ApplyToml(GetParam().toml, ServerConfig()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const std::string& part : GetParam().says) EXPECT_THAT(std::string(status.message()), HasSubstr(part));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedConfigFile,
    ::testing::Values(
        BadFile{"listenn = [':1']", {"listenn", "--print-config"}}, BadFile{"[limits]\nslots = 4", {"slots"}},
        BadFile{"[limit]\nslots_max = 4", {"limit"}}, BadFile{"[limits]\nslots_max = 'many'", {"slots_max", "many"}},
        BadFile{"[limits]\nslots_max = -1", {"slots_max", "-1"}},
        BadFile{"[limits]\nslots_max = 4294967296", {"slots_max", "4294967296"}},
        BadFile{"[limits]\nslot_bytes = -1", {"slot_bytes", "-1"}},
        BadFile{"[limits]\nslot_bytes = 1.5", {"slot_bytes"}},
        BadFile{"[limits]\nslot_bytes = '4MB'", {"slot_bytes", "4MB", "MiB"}},
        BadFile{"[limits]\nslot_bytes = '17179869184GiB'", {"slot_bytes", "17179869184GiB"}},
        BadFile{"[limits]\nstall_max = 60", {"stall_max"}}, BadFile{"[limits]\nstall_max = '1h'", {"stall_max"}},
        BadFile{"[unix_listener]\nallowed_uids = [-1]", {"allowed_uids"}},
        BadFile{"reflection = 'perhaps'", {"reflection"}}, BadFile{"compute_threads = nan", {"compute_threads"}},
        BadFile{"[logging]\nlevel = 'loud'", {"logging.level", "loud", "debug, info, warning, error"}},
        BadFile{"[logging]\nformat = 'xml'", {"logging.format", "xml", "text, json"}},
        BadFile{"a = 1\nb = = 2", {"line 2", "column"}}));

TEST(ConfigFile, ReadsPrincipalsAsAnArrayOfTables) {
  const auto config = ApplyToml("principals = [{name = 'uid:1000', weight = 3}, {name = 'uid:1001'}]", Unusual());
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->principals.size(), 2u);
  EXPECT_EQ(config->principals[0].weight, 3u);
  EXPECT_EQ(config->principals[1].name, "uid:1001");
  EXPECT_EQ(config->principals[1].weight, 1u);
}

TEST(ConfigFile, ReadsAListOfListeners) {
  const auto config = ApplyToml("listen = [':1', 'unix:/a']", ServerConfig());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->listen, ElementsAre(":1", "unix:/a"));
}

}  // namespace
}  // namespace quantd::server
