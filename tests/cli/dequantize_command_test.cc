#include "client/cli/dequantize_command.h"

#include "client/cli/metadata.h"
#include "tests/cli/command_test.h"

namespace quantd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class DequantizeCommand : public CommandTest {
 protected:
  DequantizeCommand() {
    MakeModel();
    EXPECT_EQ(Run({"quantize", Path("in"), Path("q"), "--scheme", "bnb-nf4", "--set", "double_quant=true"}),
              ExitCode::kOk)
        << err_.str();
    client_->calls.clear();
  }

  // The quantized file without, or with another, tensor.
  void Rewrite(const std::string& name, std::optional<FileTensor> replacement) {
    const auto reader = Open("q");
    std::vector<FileTensor> tensors;
    for (const server::SafetensorsEntry& entry : reader->tensors()) {
      if (entry.name != name) {
        tensors.push_back({entry.name, std::string(entry.dtype.name), entry.shape, Text(*reader, entry.name)});
      }
    }
    if (replacement.has_value()) tensors.push_back(*replacement);
    MakeFile("q", tensors, reader->metadata());
  }
};

TEST_F(DequantizeCommand, NeedsNothingButTheFile) {
  ASSERT_EQ(Run({"dequantize", Path("q"), Path("out")}), ExitCode::kOk) << err_.str();
  ASSERT_EQ(client_->calls.size(), 2u);
  const FakeClient::Call& b = client_->calls[0];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, DataType::kBFloat16);
  EXPECT_THAT(b.shape, ElementsAre(3));
  EXPECT_EQ(b.scheme.overrides.at("double_quant"), "true");
  EXPECT_THAT(b.segments, UnorderedElementsAre("codes", "scales", "nested_scales", "offset"));
}

TEST_F(DequantizeCommand, GivesBackNamesTypesShapesAndMetadata) {
  ASSERT_EQ(Run({"dequantize", Path("q"), Path("out")}), ExitCode::kOk) << err_.str();
  const auto out = Open("out");
  EXPECT_EQ(out->tensors().size(), 3u);
  EXPECT_EQ(out->Find("w")->dtype.name, "F32");
  EXPECT_THAT(out->Find("w")->shape, ElementsAre(2, 100));
  EXPECT_EQ(Text(*out, "w"), Pattern(800));
  EXPECT_EQ(out->Find("b")->dtype.name, "BF16");
  EXPECT_EQ(Text(*out, "ids"), "0123456789abcdef");
  EXPECT_THAT(out->metadata(), ElementsAre(std::pair("format", "pt")));
}

TEST_F(DequantizeCommand, MakesTheTypeThatIsAskedFor) {
  ASSERT_EQ(Run({"dequantize", Path("q"), Path("out"), "--dtype", "float16"}), ExitCode::kOk) << err_.str();
  EXPECT_EQ(Open("out")->Find("w")->dtype.name, "F16");
  EXPECT_EQ(Run({"dequantize", Path("q"), Path("out"), "--dtype", "float8"}), ExitCode::kUsage);
}

TEST_F(DequantizeCommand, RefusesAFileThatIsNotQuantized) {
  EXPECT_EQ(Run({"dequantize", Path("in"), Path("out")}), ExitCode::kUsage);
  EXPECT_THAT(err_.str(), HasSubstr("holds no tensor"));
}

TEST_F(DequantizeCommand, NamesASegmentThatIsMissing) {
  Rewrite("w.offset", std::nullopt);
  EXPECT_EQ(Run({"dequantize", Path("q"), Path("out")}), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("'w.offset'"));
}

TEST_F(DequantizeCommand, RefusesASegmentOfAnotherTypeOrShape) {
  for (const FileTensor& wrong : {FileTensor{"w.codes", "I8", {100}, std::string(100, 'x')},
                                  FileTensor{"w.codes", "U8", {99}, std::string(99, 'x')},
                                  FileTensor{"w.codes", "U8", {2, 50}, std::string(100, 'x')}}) {
    Rewrite("w.codes", wrong);
    EXPECT_EQ(Run({"dequantize", Path("q"), Path("out")}), ExitCode::kFile);
    EXPECT_THAT(err_.str(), HasSubstr("'w.codes' has another type or shape"));
  }
}

TEST_F(DequantizeCommand, RefusesMetadataThatItCannotRead) {
  MakeFile("bad", {}, {{"quantd", R"({"version":2})"}});
  EXPECT_EQ(Run({"dequantize", Path("bad"), Path("out")}), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("newer quantctl"));
  ConvertedTensors unknown;
  unknown["w"] = {{"no-such", {}, 1}, DataType::kFloat32, {1}};
  MakeFile("bad", {}, {{"quantd", FormatMetadata(unknown)}});
  EXPECT_EQ(Run({"dequantize", Path("bad"), Path("out")}), ExitCode::kFile);
  EXPECT_THAT(err_.str(), HasSubstr("UNKNOWN_SCHEME"));
}

}  // namespace
}  // namespace quantd::cli
