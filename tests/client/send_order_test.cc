#include "client/cpp/send_order.h"

#include <string>

#include "gtest/gtest.h"

namespace quantd {
namespace {

// All runs, as "name[begin,end)".
std::string Drain(SendOrder& order, const std::vector<SendOrder::Segment>& segments, uint64_t bytes_max) {
  std::string text;
  while (const auto run = order.Next(bytes_max)) {
    text += (text.empty() ? "" : " ") + segments[run->segment].name + "[" + std::to_string(run->offset) + "," +
            std::to_string(run->offset + run->bytes) + ")";
  }
  return text;
}

const std::vector<SendOrder::Segment> kSegments = {{"codes", 50}, {"scales", 10}, {"offset", 4}};

TEST(SendOrder, IsOneSegmentAfterTheOtherUntilAnOrderIsSet) {
  SendOrder order(kSegments);
  EXPECT_EQ(Drain(order, kSegments, 100), "codes[0,50) scales[0,10) offset[0,4)");
  EXPECT_TRUE(order.done());
}

TEST(SendOrder, SendsWholeTensorSegmentsFirstAndThenBatchByBatch) {
  SendOrder order(kSegments);
  order.SetOrder({{"scales", 4}, {"codes", 20}, {"offset", 0}});
  EXPECT_EQ(Drain(order, kSegments, 100),
            "offset[0,4) scales[0,4) codes[0,20) scales[4,8) codes[20,40) scales[8,10) codes[40,50)");
}

TEST(SendOrder, CutsRunsToWhatIsAllowed) {
  SendOrder order(kSegments);
  order.SetOrder({{"offset", 0}, {"scales", 10}, {"codes", 50}});
  EXPECT_EQ(Drain(order, kSegments, 30), "offset[0,4) scales[0,10) codes[0,30) codes[30,50)");
}

TEST(SendOrder, GoesOnWhereItWasWhenTheOrderIsSetLater) {
  SendOrder order(kSegments);
  EXPECT_EQ(order.Next(7)->bytes, 7u);
  order.SetOrder({{"offset", 0}, {"scales", 5}, {"codes", 25}});
  EXPECT_EQ(Drain(order, kSegments, 100), "offset[0,4) scales[0,5) codes[7,25) scales[5,10) codes[25,50)");
}

TEST(SendOrder, OfNothingIsDone) {
  SendOrder order({{"values", 0}});
  EXPECT_TRUE(order.done());
  EXPECT_FALSE(order.Next(1).has_value());
}

TEST(SendOrder, TakesBatchesLargerThanAnySegment) {
  SendOrder order(kSegments);
  order.SetOrder({{"codes", UINT64_MAX}, {"scales", UINT64_MAX}, {"offset", UINT64_MAX}});
  EXPECT_EQ(Drain(order, kSegments, 100), "codes[0,50) scales[0,10) offset[0,4)");
}

}  // namespace
}  // namespace quantd
