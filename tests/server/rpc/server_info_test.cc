#include "server/rpc/server_info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "proto/codec/frame_codec.h"

namespace quantd::server {
namespace {

TEST(DescribeSchemes, ListsEveryPresetInThePlannersOrder) {
  const v1::ListSchemesResponse response = DescribeSchemes();
  ASSERT_EQ(response.schemes_size(), static_cast<int>(AllPresets().size()));
  for (int i = 0; i < response.schemes_size(); ++i) {
    const PresetInfo& preset = AllPresets()[static_cast<size_t>(i)];
    const v1::SchemeDescription& scheme = response.schemes(i);
    EXPECT_EQ(scheme.scheme().preset(), preset.name);
    EXPECT_EQ(scheme.summary(), preset.summary);
    EXPECT_EQ(scheme.byte_equal_to(), preset.byte_equal_to);
    EXPECT_GT(scheme.scheme().format_revision(), 0u);
    EXPECT_EQ(scheme.error_bound(), preset.error_bound);
    EXPECT_THAT(scheme.constraints(), ::testing::ElementsAreArray(preset.constraints));
    EXPECT_GT(scheme.bits_per_weight(), 3.0);
    EXPECT_LE(scheme.bits_per_weight(), 16.0);
    EXPECT_GE(scheme.segments_size(), 1);
    EXPECT_THAT(scheme.dtypes(),
                ::testing::UnorderedElementsAre(v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT16, v1::DATA_TYPE_BFLOAT16));
  }
}

TEST(DescribeSchemes, NamesTheSegmentsOfEachScheme) {
  const v1::ListSchemesResponse response = DescribeSchemes();
  std::map<std::string, std::vector<std::string>> segments;
  for (const v1::SchemeDescription& scheme : response.schemes()) {
    segments[scheme.scheme().preset()].assign(scheme.segments().begin(), scheme.segments().end());
  }
  using ::testing::ElementsAre;
  EXPECT_THAT(segments.at("bnb-nf4"), ElementsAre("codes", "scales"));
  EXPECT_THAT(segments.at("int4-asym"), ElementsAre("codes", "scales", "zero_points"));
  EXPECT_THAT(segments.at("ct-w4a16-asym"), ElementsAre("codes", "scales", "zero_points", "weight_shape"));
  EXPECT_THAT(segments.at("ct-nvfp4"), ElementsAre("codes", "scales", "global_scale"));
  EXPECT_THAT(segments.at("ggml-q4_0"), ElementsAre("blocks"));
  EXPECT_THAT(segments.at("bf16"), ElementsAre("codes"));
}

// The scheme names only those overrides that mean something with the others at their defaults.
TEST(DescribeSchemes, EveryOverrideHasItsDefaultAmongItsValues) {
  const v1::ListSchemesResponse response = DescribeSchemes();
  for (const v1::SchemeDescription& scheme : response.schemes()) {
    std::map<std::string, std::string> defaults;
    for (const v1::OverrideDescription& info : scheme.overrides()) {
      EXPECT_THAT(info.values(), ::testing::Contains(info.default_value())) << info.name();
      defaults[info.name()] = info.default_value();
    }
    for (const auto& [name, value] : scheme.scheme().overrides()) {
      EXPECT_THAT(defaults, ::testing::Contains(::testing::Pair(name, value))) << scheme.scheme().preset();
    }
  }
}

TEST(DescribeServer, SaysWhoItIsAndWhatItsLimitsAre) {
  const auto backend = MakeCpuBackend("scalar").value();
  ServiceOptions options{.version = "1.2.3", .server_instance = "abc", .epoch = 77};
  options.limits.window_bytes = 16 << 20;
  options.limits.streams_max = 9;
  options.limits.streams_per_principal_max = 4;
  options.limits.spool_bytes_per_stream_max = 12345;
  options.limits.stall_max = absl::Milliseconds(1500);
  const v1::GetServerInfoResponse info =
      DescribeServer(options, *backend, /*devices=*/nullptr, Principal{"uid:1000"}, 777);
  EXPECT_EQ(info.parked_bytes(), 777u);
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.server_instance(), "abc");
  EXPECT_EQ(info.epoch(), 77u);
  EXPECT_EQ(info.cpu_target(), "scalar");
  EXPECT_EQ(info.principal(), "uid:1000");
  EXPECT_THAT(info.devices(), ::testing::ElementsAre("cpu"));
  EXPECT_EQ(info.gpus_size(), 0);
  EXPECT_EQ(info.limits().frame_data_bytes_max(), wire::kFrameDataBytesMax);
  EXPECT_EQ(info.limits().initial_window_bytes(), 256u << 10);
  EXPECT_EQ(info.limits().window_bytes(), 16u << 20);
  EXPECT_EQ(info.limits().tensor_bytes_max(), uint64_t{1} << 40);
  EXPECT_EQ(info.limits().spool_bytes_per_stream_max(), 12345u);
  EXPECT_EQ(info.limits().streams_max(), 9u);
  EXPECT_EQ(info.limits().streams_per_principal_max(), 4u);
  EXPECT_EQ(info.limits().stall_ms_max(), 1500u);
}

}  // namespace
}  // namespace quantd::server
