// Runs quantctl in this process with a fake server, in a folder of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "client/cli/run_command_line.h"
#include "server/conversion/safetensors_reader.h"
#include "server/conversion/safetensors_writer.h"
#include "tests/cli/fake_client.h"
#include "tests/conversion/temporary_folder.h"

namespace quantd::cli {

class ManualClock final : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Time now = absl::UnixEpoch();
};

class CommandTest : public ::testing::Test {
 protected:
  struct FileTensor {
    std::string name;
    std::string dtype;
    std::vector<uint64_t> shape;
    std::string bytes;
  };

  std::string Path(const std::string& name) const { return folder_.File(name); }

  void MakeFile(const std::string& name, const std::vector<FileTensor>& tensors,
                const std::map<std::string, std::string>& metadata = {}) {
    std::vector<server::SafetensorsDeclaration> declarations;
    for (const FileTensor& tensor : tensors) {
      declarations.push_back({tensor.name, *server::SafetensorsDtypeNamed(tensor.dtype), tensor.shape});
    }
    auto writer = server::SafetensorsWriter::Create(Path(name), declarations, metadata);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const FileTensor& tensor : tensors) {
      ASSERT_TRUE((*writer)->Write(tensor.name, 0, std::as_bytes(std::span(tensor.bytes))).ok());
    }
    ASSERT_TRUE((*writer)->Finish().ok());
  }

  // `w` float32 [2, 100], `b` bfloat16 [3], `ids` int64 [2].
  void MakeModel() {
    MakeFile("in",
             {{"w", "F32", {2, 100}, std::string(800, 'w')},
              {"b", "BF16", {3}, std::string(6, 'b')},
              {"ids", "I64", {2}, "0123456789abcdef"}},
             {{"format", "pt"}});
  }

  // File names are those of the test's folder.
  ExitCode Run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    std::vector<const char*> argv{"quantctl"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    Environment environment{out_,
                            err_,
                            terminal_,
                            clock_,
                            cancel_,
                            [this] { return interruption_; },
                            [this](const ServerChoice& server) -> absl::StatusOr<std::shared_ptr<Client>> {
                              addresses_.push_back(server.address);
                              cpu_targets_.push_back(server.cpu_target);
                              return client_;
                            },
                            bench_peers_,
                            &in_};
    return RunCommandLine(static_cast<int>(argv.size()), argv.data(), environment);
  }

  nlohmann::json Json() const { return nlohmann::json::parse(out_.str()); }

  std::unique_ptr<server::SafetensorsReader> Open(const std::string& name) {
    auto reader = server::SafetensorsReader::Open(Path(name));
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *std::move(reader);
  }

  static std::string Text(const server::SafetensorsReader& reader, const std::string& name) {
    const server::SafetensorsEntry* entry = reader.Find(name);
    if (entry == nullptr) return "no such tensor";
    const auto bytes = reader.BytesOf(*entry);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  static std::string Pattern(uint64_t bytes) {
    std::string text;
    for (uint64_t i = 0; i < bytes; ++i) text += static_cast<char>(PatternAt(i));
    return text;
  }

  TemporaryFolder folder_;
  ManualClock clock_;
  CancelToken cancel_;
  Interruption interruption_ = Interruption::kNone;
  bool terminal_ = false;
  std::ostringstream out_, err_;
  std::istringstream in_;
  std::shared_ptr<FakeClient> client_ = std::make_shared<FakeClient>();
  std::function<absl::StatusOr<std::unique_ptr<BenchPeers>>(const ServerChoice&)> bench_peers_;
  std::vector<std::string> addresses_, cpu_targets_;
};

}  // namespace quantd::cli
