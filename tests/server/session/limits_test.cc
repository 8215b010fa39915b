#include "server/session/limits.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "proto/codec/frame_codec.h"

namespace quantd::server {
namespace {

TEST(Limits, TheDefaultsAreValid) { EXPECT_TRUE(Validate({}).ok()) << Validate({}); }

struct Bound {
  std::string field;
  std::function<void(Limits&, uint64_t)> set;
  uint64_t min;
  uint64_t max;
};

class LimitsBound : public ::testing::TestWithParam<Bound> {
 protected:
  static absl::Status With(uint64_t value) {
    // What bounds another field leaves it all the room there is.
    Limits limits{.slots_per_stream_max = 2,
                  .window_bytes = kWindowBytesMax,
                  .spool_bytes_per_stream_max = 0,
                  .streams_per_principal_max = 1};
    GetParam().set(limits, value);
    return Validate(limits);
  }
};

TEST_P(LimitsBound, BothEndsAreValid) {
  EXPECT_TRUE(With(GetParam().min).ok()) << With(GetParam().min);
  EXPECT_TRUE(With(GetParam().max).ok()) << With(GetParam().max);
}

TEST_P(LimitsBound, BeyondThemTheErrorNamesTheField) {
  const auto refused = [&](uint64_t value) {
    const absl::Status status = With(value);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << value;
    EXPECT_NE(status.message().find(GetParam().field + " is "), std::string::npos) << status;
  };
  if (GetParam().min > 0) refused(GetParam().min - 1);
  refused(GetParam().max + 1);
}

#define FIELD(name) \
  #name, [](Limits& limits, uint64_t value) { limits.name = static_cast<decltype(limits.name)>(value); }
const Limits kDefaults;
INSTANTIATE_TEST_SUITE_P(, LimitsBound,
                         ::testing::Values(Bound{FIELD(slot_bytes), kSlotBytesMin, kSlotBytesMax},
                                           Bound{FIELD(slots_max), 2, 4096},
                                           Bound{FIELD(slots_per_stream_max), 2, kDefaults.slots_max},
                                           Bound{FIELD(slots_per_principal_max), 0, 4096},
                                           Bound{FIELD(load_bytes_max), 1 << 20, kLoadBytesMax},
                                           Bound{FIELD(parked_bytes_max), 0, kSpoolBytesMax},
                                           Bound{FIELD(parked_bytes_per_principal_max), 0, kSpoolBytesMax},
                                           Bound{FIELD(load_bytes_per_principal_max), 0, kLoadBytesMax},
                                           Bound{FIELD(window_bytes), kDefaults.slot_bytes, kWindowBytesMax},
                                           Bound{FIELD(windows_bytes_max), 1 << 20, kWindowsBytesMax},
                                           Bound{FIELD(response_data_bytes), 4 << 10, wire::kFrameDataBytesMax},
                                           Bound{FIELD(spool_bytes_max), 0, kSpoolBytesMax},
                                           Bound{FIELD(spool_bytes_per_stream_max), 0, kDefaults.spool_bytes_max},
                                           Bound{FIELD(streams_max), 1, 65536},
                                           Bound{FIELD(streams_per_principal_max), 1, kDefaults.streams_max},
                                           Bound{FIELD(overrides_max), 1, 1024}, Bound{FIELD(name_bytes_max), 1, 4096}),
                         [](const auto& info) { return info.param.field; });
#undef FIELD

TEST(Limits, SlotsAreWholePages) {
  EXPECT_FALSE(Validate({.slot_bytes = kSlotBytesMin + 1}).ok());
  EXPECT_TRUE(Validate({.slot_bytes = kSlotBytesMin + kSlotBytesMultiple}).ok());
}

TEST(Limits, StallMaxIsTenMillisecondsToADay) {
  EXPECT_TRUE(Validate({.stall_max = absl::Milliseconds(10)}).ok());
  EXPECT_TRUE(Validate({.stall_max = absl::Hours(24)}).ok());
  EXPECT_FALSE(Validate({.stall_max = absl::Milliseconds(9)}).ok());
  EXPECT_FALSE(Validate({.stall_max = absl::Hours(25)}).ok());
  EXPECT_FALSE(Validate({.stall_max = absl::InfiniteDuration()}).ok());
}

TEST(Limits, AStreamMayHaveNoSpoolAtAll) {
  EXPECT_TRUE(Validate({.spool_bytes_max = 0, .spool_bytes_per_stream_max = 0}).ok());
}

}  // namespace
}  // namespace quantd::server
