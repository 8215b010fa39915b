#include "kernels/calibrate/weight_search.h"

#include "kernels/base/error.h"
#include "kernels/calibrate/target_levels.h"
#include "tests/kernels/calibrate/calibrate_data.h"

namespace quantd {
namespace {

TEST(ClipCandidates, AreThoseOfThePeers) {
  const std::vector<float> mse = ClipCandidates(0.2, 20);  // llm-compressor: 1 - i / 100, i < 20
  ASSERT_EQ(mse.size(), 20);
  EXPECT_EQ(mse.front(), 1);
  EXPECT_FLOAT_EQ(mse.back(), 0.81f);
  EXPECT_EQ(ClipCandidates(0.8, 80).size(), 80);
}

TEST(TargetLevels, ARangeWithZeroInsideKeepsZero) {
  for (const auto& [element, symmetric] :
       {std::pair{Element::kInt4, true}, {Element::kInt4, false}, {Element::kInt8, false}, {Element::kFp8E4m3, true}}) {
    const TargetScale scale = ScaleFor(element, symmetric, -3, symmetric ? 3 : 10);
    const std::vector<double> levels = LevelsOf(element, symmetric, scale);
    EXPECT_TRUE(std::ranges::binary_search(levels, 0.0));
    EXPECT_EQ(FakeQuantized(element, symmetric, scale, 0), 0);
  }
  EXPECT_EQ(LevelsOf(Element::kInt4, true, ScaleFor(Element::kInt4, true, -7, 7)).size(), 15);
  EXPECT_EQ(LevelsOf(Element::kFp8E4m3, true, ScaleFor(Element::kFp8E4m3, true, -448, 448)).back(), 448);
}

TEST(WeightSearch, ClipsALoneOutlierWhereInt4GainsByIt) {
  std::vector<float> run = Normal(128, 1);
  run[0] = 5;
  const auto best = FindBestClip(run, {}, ClipCandidates(0.8, 80), {});
  ASSERT_TRUE(best.ok());
  EXPECT_LT(best->ratio, 1);
  EXPECT_LT(best->error, best->unclipped_error);
}

TEST(WeightSearch, TakesTheCandidateWithTheLeastError) {
  const std::vector<float> run = Normal(64, 2);
  const std::vector<float> candidates = ClipCandidates(0.5, 50);
  float absmax = 0;
  for (const float value : run) absmax = std::max(absmax, std::fabs(value));
  for (const double norm : {2.0, 2.4, 3.0}) {
    double least = std::numeric_limits<double>::infinity();
    float expected = 0;
    for (const float ratio : candidates) {
      const TargetScale scale = ScaleFor(Element::kInt4, true, -absmax * ratio, absmax * ratio);
      double error = 0;
      for (const float value : run) {
        error += std::pow(std::fabs(value - FakeQuantized(Element::kInt4, true, scale, value)), norm);
      }
      if (error < least * (1 - 1e-12)) {
        least = error;
        expected = ratio;
      }
    }
    const auto best = FindBestClip(run, {}, candidates, {.norm = norm});
    EXPECT_EQ(best->ratio, expected);
    EXPECT_NEAR(best->error / least, 1, 1e-6);
  }
}

TEST(WeightSearch, ImportanceDecidesWhoseErrorCounts) {
  std::vector<float> run = Normal(64, 3);
  run[0] = 6;
  std::vector<float> importance(64, 1);
  const float all_alike = FindBestClip(run, importance, ClipCandidates(0.9, 90), {})->ratio;
  importance[0] = 1e6f;
  EXPECT_GT(FindBestClip(run, importance, ClipCandidates(0.9, 90), {})->ratio, all_alike);
  EXPECT_EQ(FindBestClip(run, {}, ClipCandidates(0.9, 90), {})->ratio, all_alike);
}

TEST(WeightSearch, OfZerosKeepsTheFirstCandidate) {
  const auto best = FindBestClip(std::vector<float>(16), {}, ClipCandidates(0.2, 20), {.symmetric = false});
  EXPECT_EQ(best->ratio, 1);
  EXPECT_EQ(best->error, 0);
}

TEST(WeightSearch, RefusesWhatItCannotSearch) {
  const std::vector<float> run = {1, 2};
  const std::vector<float> one = {1};
  EXPECT_FALSE(FindBestClip(run, one, one, {}).ok());
  EXPECT_FALSE(FindBestClip(run, {}, {}, {}).ok());
  EXPECT_FALSE(FindBestClip(run, {}, std::vector<float>{1.5f}, {}).ok());
  EXPECT_FALSE(FindBestClip(run, {}, one, {.target = Element::kNf4}).ok());
  EXPECT_FALSE(FindBestClip(run, {}, one, {.norm = 0}).ok());
}

}  // namespace
}  // namespace quantd
