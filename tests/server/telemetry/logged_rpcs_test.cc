#include "server/telemetry/logged_rpcs.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace quantd::server {
namespace {

using nlohmann::json;

json Logged(const RpcRecord& record) {
  std::ostringstream out;
  {
    const auto logger = MakeStreamLogger(LogLevel::kInfo, LogFormat::kJson, out);
    LoggedRpcs(*logger).Record(record);
  }
  return json::parse(out.str());
}

TEST(LoggedRpcs, WritesEverythingThatTheRecordHolds) {
  RpcRecord record;
  record.method = "Quantize";
  record.peer = "ipv4:127.0.0.1:50312";
  record.principal = "uid:1000";
  record.status = absl::InvalidArgumentError("tensor \"a\nb\" is bad");
  record.reason = "INVALID_SHAPE";
  record.tensors_done = 3;
  record.tensors_failed = 1;
  record.bytes_received = 1ull << 40;
  record.bytes_sent = 17;
  record.receive_time = absl::Milliseconds(1);
  record.queue_time = absl::Microseconds(2500);
  record.compute_time = absl::Seconds(3);
  record.total_time = absl::Seconds(4);
  const json line = Logged(record);
  EXPECT_EQ(line["message"], "rpc");
  EXPECT_EQ(line["method"], "Quantize");
  EXPECT_EQ(line["peer"], "ipv4:127.0.0.1:50312");
  EXPECT_EQ(line["principal"], "uid:1000");
  EXPECT_EQ(line["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(line["reason"], "INVALID_SHAPE");
  EXPECT_EQ(line["error"], "tensor \"a\nb\" is bad");
  EXPECT_EQ(line["tensors_done"], 3);
  EXPECT_EQ(line["tensors_failed"], 1);
  EXPECT_EQ(line["bytes_received"], 1ull << 40);
  EXPECT_EQ(line["bytes_sent"], 17);
  EXPECT_EQ(line["receive_ms"], 1.0);
  EXPECT_EQ(line["queue_ms"], 2.5);
  EXPECT_EQ(line["compute_ms"], 3000.0);
  EXPECT_EQ(line["total_ms"], 4000.0);
}

TEST(LoggedRpcs, LevelTellsWhoseFaultItIs) {
  RpcRecord record;
  EXPECT_EQ(Logged(record)["level"], "info");
  record.tensors_failed = 1;
  EXPECT_EQ(Logged(record)["level"], "warning");
  record.status = absl::ResourceExhaustedError("quota");
  EXPECT_EQ(Logged(record)["level"], "warning");
  record.status = absl::InternalError("ours");
  EXPECT_EQ(Logged(record)["level"], "error");
}

}  // namespace
}  // namespace quantd::server
