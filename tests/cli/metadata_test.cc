#include "client/cli/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

TEST(Metadata, IsReadBackAsItWasWritten) {
  ConvertedTensors tensors;
  tensors["a.\"ü\""] = {{"bnb-nf4", {{"block_size", "64"}, {"double_quant", "true"}}, 3}, DataType::kFloat16, {2, 0}};
  tensors["scalar"] = {{"nf4", {}, 1}, DataType::kFloat32, {}};
  const auto parsed = ParseMetadata(FormatMetadata(tensors));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->size(), 2u);
  const ConvertedTensor& a = parsed->at("a.\"ü\"");
  EXPECT_EQ(a.scheme.preset, "bnb-nf4");
  EXPECT_EQ(a.scheme.overrides, tensors["a.\"ü\""].scheme.overrides);
  EXPECT_EQ(a.scheme.format_revision, 3u);
  EXPECT_EQ(a.dtype, DataType::kFloat16);
  EXPECT_EQ(a.shape, (std::vector<uint64_t>{2, 0}));
  EXPECT_TRUE(parsed->at("scalar").shape.empty());
}

TEST(Metadata, HasStableText) {
  ConvertedTensors tensors;
  tensors["w"] = {{"bnb-nf4", {{"block_size", "64"}}, 1}, DataType::kFloat32, {2}};
  EXPECT_EQ(FormatMetadata(tensors),
            R"({"tensors":{"w":{"dtype":"float32","scheme":{"format_revision":1,"overrides":{"block_size":"64"},)"
            R"("preset":"bnb-nf4"},"shape":[2]}},"version":1})");
}

TEST(Metadata, RefusesWhatItCannotTrust) {
  const std::string scheme = R"("scheme":{"preset":"p","overrides":{},"format_revision":1})";
  for (
      const std::string& tensor : std::vector<std::string>{
          std::string("1"), std::string("{}"), R"({"dtype":"float32","shape":[]})", "{" + scheme + R"(,"shape":[]})",
          "{" + scheme + R"(,"dtype":"float32"})", "{" + scheme + R"(,"dtype":"uint8","shape":[]})",
          "{" + scheme + R"(,"dtype":"float32","shape":[-1]})", "{" + scheme + R"(,"dtype":"float32","shape":[1.5]})",
          std::string(
              R"({"dtype":"float32","shape":[],"scheme":{"preset":"p","overrides":{"a":1},"format_revision":1}})"),
          std::string(R"({"dtype":"float32","shape":[],"scheme":{"preset":1,"overrides":{},"format_revision":1}})"),
          std::string(
              R"({"dtype":"float32","shape":[],"scheme":{"preset":"p","overrides":{},"format_revision":4294967296}})")}) {
    EXPECT_FALSE(ParseMetadata(R"({"version":1,"tensors":{"w":)" + tensor + "}}").ok()) << tensor;
  }
  for (const char* document : {"", "[]", "{", "{}", R"({"version":1})", R"({"version":1,"tensors":[]})"}) {
    EXPECT_FALSE(ParseMetadata(document).ok()) << document;
  }
}

TEST(Metadata, AsksForANewerProgramWhenTheVersionIsNewer) {
  EXPECT_THAT(std::string(ParseMetadata(R"({"version":2,"tensors":{}})").status().message()),
              HasSubstr("use a newer quantctl"));
}

TEST(Metadata, OfAnOrdinaryFileIsEmpty) {
  const auto converted = ConvertedTensorsOf({{"format", "pt"}});
  ASSERT_TRUE(converted.ok());
  EXPECT_TRUE(converted->empty());
}

}  // namespace
}  // namespace quantd::cli
