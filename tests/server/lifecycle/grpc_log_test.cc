#include "server/lifecycle/grpc_log.h"

#include <gmock/gmock.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace quantd::server {
namespace {

TEST(GrpcLogRedirect, MakesALineOfOurLogOfWhatGrpcSays) {
  std::ostringstream out;
  {
    const auto logger = MakeStreamLogger(LogLevel::kInfo, LogFormat::kJson, out);
    const GrpcLogRedirect redirect(*logger);
    gpr_log(GPR_ERROR, "two\nlines");
    gpr_log(GPR_INFO, "of no interest");
  }
  const nlohmann::json line = nlohmann::json::parse(out.str());
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "grpc");
  EXPECT_EQ(line["text"], "two\nlines");
}

TEST(GrpcLogRedirect, EndsWithTheObject) {
  std::ostringstream out;
  {
    const auto logger = MakeStreamLogger(LogLevel::kDebug, LogFormat::kJson, out);
    {
      const GrpcLogRedirect redirect(*logger);
    }
    gpr_log(GPR_ERROR, "to standard error, as this test is expected to do");
  }
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace quantd::server
