#include "server/lifecycle/library_log.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace quantd::server {
namespace {

TEST(LibraryLogRedirect, MakesALineOfOurLogOfWhatGrpcSays) {
  grpc_init();  // sets what is logged at all
  std::ostringstream out;
  {
    const auto logger = MakeStreamLogger(LogLevel::kInfo, LogFormat::kJson, out);
    const LibraryLogRedirect redirect(*logger);
    gpr_log(GPR_ERROR, "two\nlines");
    gpr_log(GPR_INFO, "of no interest");
  }
  const nlohmann::json line = nlohmann::json::parse(out.str());
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "grpc");
  EXPECT_EQ(line["text"], "two\nlines");
  grpc_shutdown();
}

TEST(LibraryLogRedirect, WhatProtobufSaysOfClientsIsForDebugging) {
  for (const LogLevel level : {LogLevel::kInfo, LogLevel::kDebug}) {
    std::ostringstream out;
    {
      const auto logger = MakeStreamLogger(level, LogFormat::kJson, out);
      const LibraryLogRedirect redirect(*logger);
      google::protobuf::Value value;
      EXPECT_FALSE(value.ParseFromString("\x1a\x01\xff"));  // string_value that is not UTF-8
    }
    EXPECT_EQ(out.str().find("protobuf") != std::string::npos, level == LogLevel::kDebug) << out.str();
  }
}

TEST(LibraryLogRedirect, EndsWithTheObject) {
  std::ostringstream out;
  {
    const auto logger = MakeStreamLogger(LogLevel::kDebug, LogFormat::kJson, out);
    {
      const LibraryLogRedirect redirect(*logger);
    }
    gpr_log(GPR_ERROR, "to standard error, as this test is expected to do");
  }
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace quantd::server
