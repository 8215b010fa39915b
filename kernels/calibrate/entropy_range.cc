#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "kernels/calibrate/range_searches.h"
#include "kernels/calibrate/reproducible_log.h"
#include "kernels/calibrate/target_levels.h"
#include "kernels/calibrate/value_bins.h"

namespace quantd {
namespace {

constexpr size_t kBins = 2048;
constexpr size_t kStartBin = 128;
constexpr size_t kIntegerCells = 128;

// Of |x|, all as wide; a bin of float32 is shared out among those that it reaches into.
std::vector<double> LinearBins(const TensorStatistics& statistics) {
  const double absmax = statistics.Total().Absmax();
  std::vector<double> linear(kBins);
  for (const ValueBin& bin : MagnitudeBins(statistics)) {
    const double low = bin.low / absmax * kBins;
    const double high = bin.high / absmax * kBins;
    const size_t first = std::min(static_cast<size_t>(low), kBins - 1);
    const size_t last = std::min(static_cast<size_t>(high), kBins - 1);
    for (size_t i = first; i <= last; ++i) {
      const double inside = std::min(high, static_cast<double>(i + 1)) - std::max(low, static_cast<double>(i));
      linear[i] += static_cast<double>(bin.count) * (first == last ? 1.0 : inside / (high - low));
    }
  }
  // As the peers do: zeros quantize without error, and would outweigh everything else.
  linear[0] = linear[1];
  return linear;
}

// Which of the target's levels each of `bins` bins is quantized to; the levels end at the last bin.
std::vector<size_t> CellsOf(Element target, size_t bins) {
  std::vector<size_t> cells(bins);
  if (target == Element::kInt8) {
    for (size_t i = 0; i < bins; ++i) cells[i] = i * kIntegerCells / bins;
    return cells;
  }
  std::vector<double> levels =
      LevelsOf(target, true, ScaleFor(target, true, -static_cast<float>(bins), static_cast<float>(bins)));
  levels.erase(levels.begin(), std::ranges::lower_bound(levels, 0.0));
  size_t level = 0;
  for (size_t i = 0; i < bins; ++i) {
    const double center = static_cast<double>(i) + 0.5;
    while (level + 1 < levels.size() && levels[level + 1] - center <= center - levels[level]) ++level;
    cells[i] = level;
  }
  return cells;
}

double TimesLog(double value) { return value > 0 ? value * ReproducibleLog2(value) : 0; }

// Of the first `bins` bins with all others' elements in the last of them, from what is left of it when bins of a cell
// are made equal.
double Divergence(const std::vector<double>& linear, const std::vector<size_t>& cells, double prefix_times_log,
                  double prefix, double tail) {
  const size_t bins = cells.size();
  const double last = linear[bins - 1] + tail;
  if (last > 0 && linear[bins - 1] == 0) return std::numeric_limits<double>::infinity();
  // sum of p log p - p log q, where q is one for all bins of a cell that are not empty.
  double divergence = prefix_times_log - TimesLog(linear[bins - 1]) + TimesLog(last);
  for (size_t begin = 0; begin < bins;) {
    double sum = 0;
    double reference = 0;
    double occupied = 0;
    size_t i = begin;
    for (; i < bins && cells[i] == cells[begin]; ++i) {
      sum += linear[i];
      reference += i + 1 == bins ? last : linear[i];
      occupied += linear[i] != 0 ? 1 : 0;
    }
    if (sum > 0) divergence -= reference * ReproducibleLog2(sum / occupied);
    begin = i;
  }
  const double total = prefix + tail;
  return divergence / total - ReproducibleLog2(total) + ReproducibleLog2(prefix);
}

}  // namespace

Range FindEntropyRange(const TensorStatistics& statistics, const RangeRequest& request) {
  const std::vector<double> linear = LinearBins(statistics);
  double prefix = 0;
  double prefix_times_log = 0;
  double least = std::numeric_limits<double>::infinity();
  size_t best = kBins;
  for (size_t bins = 1; bins <= kBins && !request.is_cancelled(); ++bins) {
    prefix += linear[bins - 1];
    prefix_times_log += TimesLog(linear[bins - 1]);
    if (bins < kStartBin || prefix == 0) continue;
    double tail = 0;
    for (size_t i = bins; i < kBins; ++i) tail += linear[i];
    const double divergence = Divergence(linear, CellsOf(request.target, bins), prefix_times_log, prefix, tail);
    if (divergence <= least) {
      least = divergence;
      best = bins;
    }
  }
  const auto clip = static_cast<float>(statistics.Total().Absmax() * (static_cast<double>(best) / kBins));
  return {-clip, clip};
}

}  // namespace quantd
