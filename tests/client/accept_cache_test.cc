#include "client/cpp/accept_cache.h"

#include <gtest/gtest.h>

#include <string>

namespace quantd {
namespace {

std::string Accept(const std::string& preset, uint64_t window_bytes = 1) {
  v1::Accept accept;
  accept.mutable_scheme()->set_preset(preset);
  (*accept.mutable_scheme()->mutable_overrides())["block_size"] = "64";
  v1::Segment& codes = *accept.add_outputs();
  codes.set_name("codes");
  codes.set_dtype(v1::DATA_TYPE_UINT8);
  codes.add_shape(20);
  codes.set_size_bytes(20);
  accept.set_window_bytes(window_bytes);
  return accept.SerializeAsString();
}

TEST(AcceptCache, ReadsAnAccept) {
  AcceptCache cache;
  const auto accept = cache.Get(Accept("nf4"));
  ASSERT_TRUE(accept.ok());
  EXPECT_EQ((*accept)->scheme.preset, "nf4");
  EXPECT_EQ((*accept)->scheme.overrides.at("block_size"), "64");
  EXPECT_EQ((*accept)->outputs.at(0).name, "codes");
  EXPECT_EQ((*accept)->output_bytes.at(0), 20u);
  EXPECT_EQ((*accept)->message.SerializeAsString(), Accept("nf4"));
}

TEST(AcceptCache, ReadsTheSameBytesOnce) {
  AcceptCache cache;
  const auto first = *cache.Get(Accept("nf4"));
  EXPECT_EQ(*cache.Get(Accept("nf4")), first);
  EXPECT_NE(*cache.Get(Accept("fp4")), first);
  EXPECT_NE(*cache.Get(Accept("nf4", 2)), first) << "of other credit";
  EXPECT_EQ(*cache.Get(Accept("nf4")), first);
}

TEST(AcceptCache, ForgetsTheOneThatWasNotUsedLongest) {
  AcceptCache cache;
  const std::weak_ptr<const KnownAccept> used = *cache.Get(Accept("used"));
  const std::weak_ptr<const KnownAccept> unused = *cache.Get(Accept("unused"));
  for (size_t i = 0; i < AcceptCache::kAcceptsMax - 1; ++i) {
    ASSERT_TRUE(cache.Get(Accept("used")).ok());
    ASSERT_TRUE(cache.Get(Accept(std::to_string(i))).ok());
  }
  EXPECT_FALSE(used.expired());
  EXPECT_TRUE(unused.expired());
}

TEST(AcceptCache, DoesNotKeepLongOnes) {
  AcceptCache cache;
  const std::weak_ptr<const KnownAccept> accept = *cache.Get(Accept(std::string(AcceptCache::kAcceptBytesMax, 'x')));
  EXPECT_TRUE(accept.expired());
}

TEST(AcceptCache, RefusesWhatIsNoAccept) {
  AcceptCache cache;
  EXPECT_EQ(cache.Get("\xff").status().code(), absl::StatusCode::kInternal);
  v1::Accept accept;
  accept.add_outputs()->set_name("of no type");
  EXPECT_FALSE(cache.Get(accept.SerializeAsString()).ok());
}

}  // namespace
}  // namespace quantd
