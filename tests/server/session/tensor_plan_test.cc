#include "server/session/tensor_plan.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

class PlanCacheTest : public ::testing::Test {
 protected:
  static TensorRequest RequestOf(std::vector<uint64_t> shape) {
    TensorRequest request;
    request.dtype = DataType::kFloat32;
    request.shape = std::move(shape);
    request.scheme.preset = "bnb-nf4";
    return request;
  }
  std::shared_ptr<const TensorPlan> PlanOf(const TensorRequest& request, Direction direction = Direction::kQuantize) {
    return cache_.PlanOf(request, direction).value();
  }

  const Limits limits_{.slot_bytes = 1 << 20};
  PlanCache cache_{limits_, 2};
};

TEST_F(PlanCacheTest, TensorsThatAskForTheSameShareAPlan) {
  TensorRequest request = RequestOf({3, 64});
  const auto plan = PlanOf(request);
  EXPECT_EQ(plan->plan.element_count, 192u);
  request.name = "another";
  request.range = TensorRequest::Range{0, 64};
  EXPECT_EQ(PlanOf(request), plan);
}

TEST_F(PlanCacheTest, WhateverAPlanDependsOnMakesAnother) {
  const TensorRequest request = RequestOf({3, 64});
  TensorRequest dtype = request, scheme = request, revision = request, smoothing = request, importance = request;
  dtype.dtype = DataType::kBFloat16;
  scheme.scheme.overrides["block_size"] = "128";
  revision.scheme.format_revision = 1;
  smoothing.smoothing.emplace();
  importance.scheme.preset = smoothing.scheme.preset = "int8";
  importance.importance.emplace();
  importance.scheme.overrides["range"] = "mse";
  const auto plan = PlanOf(request);
  for (const TensorRequest& other : {RequestOf({64, 3}), dtype, scheme, revision, smoothing, importance}) {
    EXPECT_NE(PlanOf(other), plan);
    EXPECT_EQ(PlanOf(request), plan);
  }
  EXPECT_NE(PlanOf(request, Direction::kDequantize), plan);
  EXPECT_EQ(PlanOf(dtype)->plan.values_dtype, DataType::kBFloat16);
  EXPECT_EQ(PlanOf(scheme)->plan.scheme.block_size, 128u);
  EXPECT_TRUE(PlanOf(smoothing)->plan.channel_arrays.smoothing_factors);
}

TEST_F(PlanCacheTest, StatisticsAreOneTensorsOnly) {
  TensorRequest request = RequestOf({3, 64});
  request.scheme.preset = "int8";
  request.scheme.overrides["grouping"] = "tensor";
  request.known.amax = 1.5f;
  const auto plan = PlanOf(request);
  EXPECT_EQ(plan->plan.known.amax, 1.5f);
  EXPECT_NE(PlanOf(request), plan);
  request.known.amax.reset();
  EXPECT_FALSE(PlanOf(request)->plan.known.amax.has_value());
}

TEST_F(PlanCacheTest, TheOneThatWasNotUsedForLongestMakesRoom) {
  const auto first = PlanOf(RequestOf({64}));
  const auto second = PlanOf(RequestOf({128}));
  EXPECT_EQ(PlanOf(RequestOf({64})), first);
  PlanOf(RequestOf({192}));
  EXPECT_EQ(PlanOf(RequestOf({64})), first);
  EXPECT_NE(PlanOf(RequestOf({128})), second);
}

TEST_F(PlanCacheTest, ErrorsAreNotKept) {
  TensorRequest request = RequestOf({64});
  request.scheme.overrides["block_size"] = "63";
  EXPECT_EQ(DetailsOf(cache_.PlanOf(request, Direction::kQuantize).status()).reason, reason::kInvalidOverride);
  request.scheme.overrides.clear();
  EXPECT_TRUE(cache_.PlanOf(request, Direction::kQuantize).ok());
}

TEST_F(PlanCacheTest, AUnitThatFitsNoSlotIsRefused) {
  TensorRequest request = RequestOf({1, 1 << 20});
  request.scheme.preset = "int8";
  request.scheme.overrides["grouping"] = "channel";
  EXPECT_EQ(DetailsOf(cache_.PlanOf(request, Direction::kQuantize).status()).reason, reason::kUnitTooLarge);
}

}  // namespace
}  // namespace quantd::server
