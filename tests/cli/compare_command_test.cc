#include "client/cli/compare_command.h"

#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

std::string Floats(std::initializer_list<float> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(float)};
}

using CompareCommand = CommandTest;

TEST_F(CompareCommand, PrintsEveryTensorAndTotals) {
  MakeFile("a", {{"x", "F32", {2}, Floats({1, 2})}, {"y", "F32", {}, Floats({4})}, {"n", "I64", {1}, "12345678"}});
  MakeFile("b", {{"x", "F32", {2}, Floats({1, 3})}, {"y", "F32", {}, Floats({4})}, {"n", "I64", {1}, "12345678"}});
  ASSERT_EQ(Run({"compare", Path("a"), Path("b")}), ExitCode::kOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("x           F32         2     0.5            1    6.99"));
  EXPECT_THAT(out_.str(), HasSubstr("inf"));
  ASSERT_EQ(Run({"compare", Path("a"), Path("b"), "--json"}), ExitCode::kOk);
  EXPECT_EQ(Json()["same_tensors"], true);
  EXPECT_EQ(Json()["same_elements"], false);
  EXPECT_EQ(Json()["float_totals"]["elements"], 3);
  EXPECT_DOUBLE_EQ(Json()["float_totals"]["mse"], 1.0 / 3);
}

TEST_F(CompareCommand, WritesNoErrorAsNullSnr) {
  MakeFile("a", {{"x", "F32", {}, Floats({1})}});
  ASSERT_EQ(Run({"compare", Path("a"), Path("a"), "--json"}), ExitCode::kOk);
  EXPECT_TRUE(Json()["tensors"][0]["snr_db"].is_null());
  EXPECT_EQ(Json()["same_elements"], true);
}

TEST_F(CompareCommand, NamesTensorsOfOneFileOnly) {
  MakeFile("a", {{"x", "F32", {}, Floats({1})}, {"left", "U8", {1}, "x"}});
  MakeFile("b", {{"x", "F32", {}, Floats({1})}, {"right", "U8", {1}, "x"}});
  EXPECT_EQ(Run({"compare", Path("a"), Path("b")}), ExitCode::kDiffers);
  EXPECT_THAT(out_.str(), HasSubstr("only in " + Path("a") + ": left"));
  EXPECT_THAT(out_.str(), HasSubstr("only in " + Path("b") + ": right"));
}

TEST_F(CompareCommand, DoesNotCompareOtherShapesOrKindsOfTypes) {
  MakeFile("a", {{"x", "F32", {1}, Floats({1})}});
  MakeFile("b", {{"x", "F32", {}, Floats({1})}});
  EXPECT_EQ(Run({"compare", Path("a"), Path("b"), "--json"}), ExitCode::kDiffers);
  EXPECT_EQ(Json()["tensors"][0]["compared"], "shape_differs");
  MakeFile("b", {{"x", "I32", {1}, Floats({1})}});
  EXPECT_EQ(Run({"compare", Path("a"), Path("b"), "--json"}), ExitCode::kDiffers);
  EXPECT_EQ(Json()["tensors"][0]["compared"], "dtype_differs");
}

TEST_F(CompareCommand, ComparesOtherTypesBitByBit) {
  MakeFile("a", {{"x", "I64", {2}, "1234567812345678"}, {"f", "F4", {4}, "ab"}});
  MakeFile("b", {{"x", "I64", {2}, "123456781234567x"}, {"f", "F4", {4}, "ac"}});
  EXPECT_EQ(Run({"compare", Path("a"), Path("b"), "--json"}), ExitCode::kOk);
  EXPECT_EQ(Json()["tensors"][0]["compared"], "bits");
  EXPECT_EQ(Json()["tensors"][0]["differing"], 1);
  EXPECT_EQ(Json()["tensors"][1]["differing"], 1);
}

TEST_F(CompareCommand, ExactFailsOnOneElement) {
  MakeFile("a", {{"x", "F32", {}, Floats({1})}});
  MakeFile("b", {{"x", "F32", {}, Floats({2})}});
  EXPECT_EQ(Run({"compare", Path("a"), Path("b")}), ExitCode::kOk);
  EXPECT_EQ(Run({"compare", "--exact", Path("a"), Path("b")}), ExitCode::kDiffers);
  EXPECT_EQ(Run({"compare", "--exact", Path("a"), Path("a")}), ExitCode::kOk);
}

TEST_F(CompareCommand, StopsOnCtrlC) {
  MakeFile("a", {{"x", "F32", {}, Floats({1})}});
  cancel_.Cancel();
  interruption_ = Interruption::kSignal;
  EXPECT_EQ(Run({"compare", Path("a"), Path("a")}), ExitCode::kInterrupted);
  EXPECT_EQ(out_.str(), "");
}

TEST_F(CompareCommand, HelpStatesTheDefinitions) {
  EXPECT_EQ(Run({"compare", "--help"}), ExitCode::kOk);
  EXPECT_THAT(out_.str(), HasSubstr("10 log10( sum a^2 / sum (a-b)^2 )"));
}

}  // namespace
}  // namespace quantd::cli
