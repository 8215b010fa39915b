#include "client/cli/tensor_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/exit_code.h"

namespace quantd::cli {
namespace {

using server::SafetensorsEntry;
using ::testing::ElementsAre;

SafetensorsEntry Entry(const std::string& name, const char* dtype, std::vector<uint64_t> shape = {2, 2}) {
  return {name, *server::SafetensorsDtypeNamed(dtype), std::move(shape), 0, 0};
}

std::vector<std::string> Names(const std::vector<SafetensorsEntry>& tensors, const ConvertedTensors& converted,
                               const SelectionArguments& arguments) {
  std::vector<std::string> names;
  const auto selected = SelectTensors(tensors, converted, arguments);
  if (!selected.ok()) {
    EXPECT_EQ(ExitCodeOf(selected.status()), ExitCode::kUsage);
    return {"refused"};
  }
  for (const SafetensorsEntry* entry : *selected) names.push_back(entry->name);
  return names;
}

TEST(SelectTensors, TakesTheThreeFloatTypes) {
  EXPECT_THAT(Names({Entry("a", "F32"), Entry("b", "F64"), Entry("c", "F16"), Entry("d", "U8"), Entry("e", "BF16"),
                     Entry("f", "F8_E4M3")},
                    {}, {}),
              ElementsAre("a", "c", "e"));
}

TEST(SelectTensors, FindsTheExpressionAnywhereInTheName) {
  const std::vector<SafetensorsEntry> tensors{Entry("l.0.weight", "F32"), Entry("l.1.weight", "F32"),
                                              Entry("l.1.bias", "F32")};
  EXPECT_THAT(Names(tensors, {}, {.include = "1", .rank_min = 0}), ElementsAre("l.1.weight", "l.1.bias"));
  EXPECT_THAT(Names(tensors, {}, {.include = "weight$", .rank_min = 0}), ElementsAre("l.0.weight", "l.1.weight"));
  EXPECT_THAT(Names(tensors, {}, {.include = "^weight", .rank_min = 0}), ElementsAre("refused"));
}

TEST(SelectTensors, TakesTensorsOfAtLeastARank) {
  EXPECT_THAT(Names({Entry("s", "F32", {}), Entry("v", "F32", {2}), Entry("m", "F32", {2, 2})}, {},
                    {.include = "", .rank_min = 2}),
              ElementsAre("m"));
}

TEST(SelectTensors, LeavesSegmentsOfConvertedTensorsAlone) {
  EXPECT_THAT(Names({Entry("w.scales", "F32"), Entry("v.scales", "F32")}, {{"w", {}}}, {}), ElementsAre("v.scales"));
}

TEST(SelectTensors, RefusesABadExpressionAndAnEmptyResult) {
  EXPECT_THAT(Names({Entry("a", "F32")}, {}, {.include = "(", .rank_min = 0}), ElementsAre("refused"));
  EXPECT_THAT(Names({Entry("a", "I32")}, {}, {}), ElementsAre("refused"));
}

TEST(SelectTensors, TakesLinearTimeForAnyExpression) {
  EXPECT_THAT(Names({Entry(std::string(20'000, 'a'), "F32")}, {}, {.include = "(a|aa)*b", .rank_min = 0}),
              ElementsAre("refused"));
}

}  // namespace
}  // namespace quantd::cli
