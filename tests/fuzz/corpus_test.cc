// Every kept input of the fuzzers, and every prefix of it, through its target.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace quantd::testing {
namespace {

void ExpectNothingWrong(FuzzTarget target, const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(QUANTD_SOURCE_DIR) / "tests/fuzz/corpus" / name;
  size_t inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<uint8_t> input{std::istreambuf_iterator<char>(file), {}};
    for (size_t length = 0; length <= input.size(); ++length) {
      ASSERT_EQ(target(std::span(input).first(length)), "") << entry.path() << ", first " << length << " bytes";
    }
    ++inputs;
  }
  EXPECT_GT(inputs, 10u);
}

TEST(FuzzCorpus, OfFramesPasses) { ExpectNothingWrong(FuzzFrame, "frame"); }
TEST(FuzzCorpus, OfSafetensorsHeadersPasses) { ExpectNothingWrong(FuzzSafetensors, "safetensors"); }

}  // namespace
}  // namespace quantd::testing
