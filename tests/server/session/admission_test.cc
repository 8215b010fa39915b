#include "server/session/admission.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

const Principal kAnn{"ann"};
const Principal kBob{"bob"};
constexpr Limits kLimits = {.streams_max = 3, .streams_per_principal_max = 2};

TEST(Admission, CountsStreamsThatAreOpen) {
  Admission admission(kLimits);
  EXPECT_EQ(admission.streams(), 0u);
  {
    const auto ticket = admission.Enter(kAnn);
    EXPECT_EQ(admission.streams(), 1u);
  }
  EXPECT_EQ(admission.streams(), 0u);
}

TEST(Admission, AMovedTicketIsOnePlace) {
  Admission admission(kLimits);
  auto ticket = admission.Enter(kAnn);
  {
    const Admission::Ticket moved = *std::move(ticket);
    EXPECT_EQ(admission.streams(), 1u);
  }
  EXPECT_EQ(admission.streams(), 0u);
}

TEST(Admission, APrincipalsLimitIsItsOwn) {
  Admission admission(kLimits);
  const auto one = admission.Enter(kAnn);
  auto two = admission.Enter(kAnn);
  const auto refused = admission.Enter(kAnn);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailsOf(refused.status()).reason, reason::kPrincipalStreams);
  EXPECT_TRUE(admission.Enter(kBob).ok());
  two = absl::CancelledError();
  EXPECT_TRUE(admission.Enter(kAnn).ok());
}

TEST(Admission, TheServersLimitIsForAll) {
  Admission admission(kLimits);
  const auto one = admission.Enter(kAnn);
  const auto two = admission.Enter(kAnn);
  const auto three = admission.Enter(kBob);
  const auto refused = admission.Enter(kBob);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(DetailsOf(refused.status()).reason, reason::kServerStreams);
  EXPECT_EQ(admission.streams(), 3u);
}

TEST(Admission, ADrainRefusesEverybodyAndWaitsForNobody) {
  Admission admission(kLimits);
  const auto open = admission.Enter(kAnn);
  admission.BeginDrain();
  admission.BeginDrain();
  const auto refused = admission.Enter(kBob);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(DetailsOf(refused.status()).reason, reason::kServerDraining);
  EXPECT_EQ(admission.streams(), 1u);
}

}  // namespace
}  // namespace quantd::server
