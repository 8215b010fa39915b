#include <algorithm>
#include <tuple>
#include <vector>

#include "kernels/calibrate/range_searches.h"
#include "kernels/calibrate/target_levels.h"
#include "kernels/calibrate/value_bins.h"

namespace quantd {
namespace {

using Points = std::vector<WeightedPoint>;

// A step of both ends: 2^(-1/16), and 2^(-1/2) where both are free.
constexpr double kStep = 0.9576032806985737;
constexpr double kWideStep = 0.7071067811865476;
constexpr int kSteps = 16 * 20;  // down to 2^-20 of the values' own range
constexpr int kWideSteps = 2 * 16;
constexpr size_t kStarts = 4;
// Exponents of two of the finer steps, and as many of them to both sides as reach the next coarser one.
constexpr double kFineSteps[] = {0.9945994234836328, 0.9993233185470545};  // 2^(-1/128), 2^(-1/1024)
constexpr int kFineReach = 10;
constexpr int kRoundsMax = 256;  // some three are taken
// float32 bins are as wide as a step of int8 near its end: inside them an element may be anywhere.
constexpr uint32_t kPointsPerBin = 4;

struct Candidate {
  double lowest;  // negated
  double highest;
  double error;
};

class MseSearch {
 public:
  MseSearch(const TensorStatistics& statistics, const RangeRequest& request)
      : request_(request),
        target_(request.target),
        symmetric_(request.symmetric),
        coarse_(PointsOf(ValueBins(statistics), 1)),
        fine_(PointsOf(ValueBins(statistics), kPointsPerBin)) {
    const BucketRange total = statistics.Total();
    lowest_ = symmetric_ ? total.Absmax() : std::max(-total.lowest, 0.0f);
    highest_ = symmetric_ ? total.Absmax() : std::max(total.highest, 0.0f);
  }

  Range Find() const {
    Candidate best{lowest_, highest_, Error(fine_, lowest_, highest_)};
    for (Candidate start : Starts()) {
      start.error = Error(fine_, start.lowest, start.highest);
      for (const double step : kFineSteps) Refine(step, start);
      if (start.error < best.error) best = start;
    }
    return {-static_cast<float>(best.lowest), static_cast<float>(best.highest)};
  }

 private:
  // Of the points, each taken to its nearest level.
  double Error(const Points& points, double lowest, double highest) const {
    if (request_.is_cancelled()) return 0;  // every loop ends soon where all errors are equal
    const TargetScale scale = ScaleFor(target_, symmetric_, -static_cast<float>(lowest), static_cast<float>(highest));
    const std::vector<double> levels = LevelsOf(target_, symmetric_, scale);
    double error = 0;
    size_t level = 0;
    for (const WeightedPoint& point : points) {
      while (level + 1 < levels.size() && levels[level + 1] - point.value <= point.value - levels[level]) ++level;
      const double difference = point.value - levels[level];
      error += difference * difference * point.weight;
    }
    return error;
  }

  Candidate Try(double lowest, double highest) const { return {lowest, highest, Error(coarse_, lowest, highest)}; }

  // The best of a wide net, no two of them neighbours.
  std::vector<Candidate> Starts() const {
    std::vector<Candidate> found;
    if (symmetric_ || lowest_ == 0 || highest_ == 0) {
      double factor = 1;
      for (int i = 0; i < kSteps; ++i, factor *= kStep) found.push_back(Try(lowest_ * factor, highest_ * factor));
      return LocalMinima(std::move(found));
    }
    double low_factor = 1;
    for (int i = 0; i < kWideSteps; ++i, low_factor *= kWideStep) {
      double high_factor = 1;
      for (int k = 0; k < kWideSteps; ++k, high_factor *= kWideStep) {
        found.push_back(Try(lowest_ * low_factor, highest_ * high_factor));
      }
    }
    return Best(std::move(found));
  }

  static std::vector<Candidate> LocalMinima(std::vector<Candidate> line) {
    std::vector<Candidate> minima;
    for (size_t i = 0; i < line.size(); ++i) {
      if ((i == 0 || line[i].error <= line[i - 1].error) &&
          (i + 1 == line.size() || line[i].error <= line[i + 1].error)) {
        minima.push_back(line[i]);
      }
    }
    return Best(std::move(minima));
  }
  static std::vector<Candidate> Best(std::vector<Candidate> candidates) {
    // Of equal errors the wider range first.
    std::ranges::sort(candidates, [](const Candidate& a, const Candidate& b) {
      return std::tuple(a.error, b.highest, b.lowest) < std::tuple(b.error, a.highest, a.lowest);
    });
    candidates.resize(std::min(candidates.size(), kStarts));
    return candidates;
  }

  // Goes on while one of the ends can be moved for the better; both together where they are one.
  void Refine(double step, Candidate& best) const {
    const bool together = symmetric_;
    bool improved = true;
    for (int round = 0; improved && round < kRoundsMax; ++round) {
      improved = false;
      for (const bool move_lowest : {false, true}) {
        if (together && move_lowest) continue;
        const Candidate from = best;
        double smaller = 1;
        double larger = 1;
        for (int i = 0; i < kFineReach; ++i) {
          smaller *= step;
          larger /= step;
          for (const double factor : {smaller, larger}) {
            Candidate next = from;
            if (together || move_lowest) next.lowest = std::min(from.lowest * factor, lowest_);
            if (together || !move_lowest) next.highest = std::min(from.highest * factor, highest_);
            next.error = Error(fine_, next.lowest, next.highest);
            if (next.error < best.error) {
              best = next;
              improved = true;
            }
          }
        }
      }
    }
  }

  const RangeRequest& request_;
  const Element target_;
  const bool symmetric_;
  const Points coarse_;
  const Points fine_;
  double lowest_;  // negated
  double highest_;
};

}  // namespace

Range FindMseRange(const TensorStatistics& statistics, const RangeRequest& request) {
  return MseSearch(statistics, request).Find();
}

}  // namespace quantd
