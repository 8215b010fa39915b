#include "kernels/cuda/launch_policy.h"

#include <gtest/gtest.h>

namespace quantd {
namespace {

TEST(BalancedTurns, AreOneWhereThereAreProcessorsForAll) { EXPECT_EQ(BalancedTurns(132 * 6, 6, 132), 1u); }

TEST(BalancedTurns, FillAllProcessorsAtOnceWhereThereAreMany) {
  // 65,536 turns of 792 CTAs: 83 each.
  EXPECT_EQ(BalancedTurns(65536, 6, 132), 83u);
}

TEST(BalancedTurns, LeaveNoProcessorMuchMoreThanOthers) {
  // Six CTAs of 6 turns are 36 on some multiprocessors, and 30 on others; four of 8 are 32 on most.
  EXPECT_EQ(BalancedTurns(4096, 6, 132), 8u);
}

TEST(LaunchPolicy, HoldsWhatADeviceHasRoomFor) {
  EXPECT_EQ(LaunchPolicyFor(9, 0, 132).table_threads, 1536u);
  EXPECT_EQ(LaunchPolicyFor(8, 0, 108).table_threads, 1536u);
  EXPECT_EQ(LaunchPolicyFor(8, 9, 142).table_threads, 1024u);
  // Each CTA takes a KiB more, of the 228 that a multiprocessor has.
  EXPECT_EQ(228u / ((LaunchPolicyFor(9, 0, 132).wide_decode_bytes >> 10) + 1), 5u);
  EXPECT_EQ(LaunchPolicyFor(8, 0, 108).wide_decode_bytes, 0u);
  EXPECT_LT(LaunchPolicyFor(8, 0, 54).two_turns_chunks, LaunchPolicyFor(9, 0, 132).two_turns_chunks);
}

}  // namespace
}  // namespace quantd
