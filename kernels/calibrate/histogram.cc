#include "kernels/calibrate/histogram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// Ahead of the loop, and not to stay in the caches: the tables need them.
constexpr size_t kPrefetchBytes = 2048;
constexpr uint64_t kRoom = std::numeric_limits<uint32_t>::max();

// Adds value · 2^exponent, exactly.
void AddScaled(ExactSum& sum, Wide value, int exponent, bool negative) {
  for (; value != 0; value >>= 32, exponent += 32) {
    const double part = std::ldexp(static_cast<double>(static_cast<uint32_t>(value)), exponent);
    sum.Add(negative ? -part : part);
  }
}

// Adds value · count; the value has at most 22 bits, so that parts of the count times it have no more than a double.
void AddTimes(ExactSum& sum, double value, uint64_t count) {
  sum.Add(value * static_cast<double>(count & 0xffffffu));
  sum.Add(value * 0x1p24 * static_cast<double>(count >> 24 & 0xffffffu));
  sum.Add(value * 0x1p48 * static_cast<double>(count >> 48));
}

// `count_of(pattern)` is called once for each.
template <class CountOf>
Histogram FoldCounts(DataType dtype, const CountOf& count_of, uint64_t& nonfinite) {
  Histogram histogram;
  for (size_t pattern = 0; pattern < kPatterns; ++pattern) {
    const uint64_t count = count_of(pattern);
    if (count == 0) continue;
    if (IsFinitePattern(dtype, static_cast<uint16_t>(pattern))) {
      histogram.Append(static_cast<uint16_t>(pattern), count);
    } else {
      nonfinite += count;
    }
  }
  return histogram;
}

constexpr size_t FieldOf(size_t pattern) { return (pattern >> 7) % kExponents; }
constexpr uint64_t HighOf(size_t pattern) { return (pattern & 0x7f) | (FieldOf(pattern) != 0 ? 0x80 : 0); }

// A float32 is (high · 2^16 + low) · 2^e, its square (high² · 2^32 + low · (2^17 · high + low)) · 2^2e.
void AddMoments(const Histogram& histogram, const LowMoments& moments, ExactSum& sum, ExactSum& sum_of_squares) {
  std::array<Wide, kSignsAndExponents> sums{};
  std::array<Wide, kExponents> squares{};
  for (size_t i = 0; i < histogram.size(); ++i) {
    const uint16_t pattern = histogram.patterns[i];
    const Wide high = HighOf(pattern);
    sums[pattern >> 7] += high * histogram.counts[i] << 16;
    squares[FieldOf(pattern)] += high * high * histogram.counts[i] << 32;
  }
  for (size_t field = 0; field + 1 < kExponents; ++field) {
    const int exponent = (field != 0 ? static_cast<int>(field) : 1) - 150;
    AddScaled(sum, sums[field] + moments.sums[field], exponent, false);
    AddScaled(sum, sums[kExponents + field] + moments.sums[kExponents + field], exponent, true);
    AddScaled(sum_of_squares, squares[field] + moments.products[field], 2 * exponent, false);
  }
}

LowMoments MomentsOf(const PatternCounts& patterns) {
  LowMoments moments;
  for (size_t pattern = 0; pattern < kPatterns; ++pattern) {
    const uint64_t low_sum = patterns.low_sums[pattern];
    moments.sums[pattern >> 7] += low_sum;
    moments.products[FieldOf(pattern)] += static_cast<Wide>(HighOf(pattern) * low_sum) << 17;
  }
  for (size_t i = 0; i < kSignsAndExponents; ++i) moments.products[i % kExponents] += patterns.low_squares[i];
  return moments;
}

}  // namespace

void Histogram::Merge(const Histogram& other) {
  if (other.size() == 0) return;
  Histogram merged;
  const size_t bins_max = std::min(size() + other.size(), kPatterns);
  merged.patterns.reserve(bins_max);
  merged.counts.reserve(bins_max);
  size_t i = 0;
  size_t k = 0;
  while (i < size() || k < other.size()) {
    const bool mine = k == other.size() || (i < size() && patterns[i] <= other.patterns[k]);
    const bool others = i == size() || (k < other.size() && other.patterns[k] <= patterns[i]);
    const uint16_t pattern = mine ? patterns[i] : other.patterns[k];
    uint64_t count = 0;
    if (mine) count += counts[i++];
    if (others) count += other.counts[k++];
    merged.Append(pattern, count);
  }
  *this = std::move(merged);
}

PatternBounds BoundsOf(DataType dtype, uint16_t pattern) {
  if (dtype == DataType::kFloat16) return {Float16ToFloat32(pattern), Float16ToFloat32(pattern)};
  const uint32_t upper = uint32_t{pattern} << 16;
  const float nearest = std::bit_cast<float>(upper);
  return {nearest, dtype == DataType::kBFloat16 ? nearest : std::bit_cast<float>(upper | 0xffffu)};
}

ExactSum SumOf(DataType dtype, const Histogram& histogram) {
  ExactSum sum;
  for (size_t i = 0; i < histogram.size(); ++i) {
    const double value = BoundsOf(dtype, histogram.patterns[i]).nearest;
    AddTimes(sum, value, histogram.counts[i]);
  }
  return sum;
}

ExactSum SumOfSquaresOf(DataType dtype, const Histogram& histogram) {
  ExactSum sum;
  for (size_t i = 0; i < histogram.size(); ++i) {
    const double value = BoundsOf(dtype, histogram.patterns[i]).nearest;
    AddTimes(sum, value * value, histogram.counts[i]);
  }
  return sum;
}

std::vector<uint32_t> AscendingOrder(const Histogram& histogram) {
  std::vector<uint32_t> order;
  order.reserve(histogram.size());
  const auto first_negative = static_cast<uint32_t>(std::ranges::lower_bound(histogram.patterns, uint16_t{0x8000}) -
                                                    histogram.patterns.begin());
  for (auto i = static_cast<uint32_t>(histogram.size()); i > first_negative; --i) order.push_back(i - 1);
  for (uint32_t i = 0; i < first_negative; ++i) order.push_back(i);
  return order;
}

void PatternCounters::Prepare(DataType dtype) {
  if (in_use_) return;
  in_use_ = true;
  counts_.resize(kPatterns * kCountTables);
  if (dtype == DataType::kFloat32) moments_.resize(1);
  room_ = kRoom;
}

namespace {

// Equal neighbours in one step: otherwise each would wait for the one before it.
constexpr bool AllEqual(uint64_t four_words) { return four_words == std::rotl(four_words, 16); }

}  // namespace

void PatternCounters::Count16(std::span<const std::byte> values) {
  const std::byte* const source = values.data();
  const uint64_t count = values.size() / sizeof(uint16_t);
  room_ -= count;
  uint32_t* const counts = counts_.data();
  uint32_t* const others = counts + kPatterns;
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const auto first = LoadUnaligned<uint64_t>(source + 2 * i);
    const auto second = LoadUnaligned<uint64_t>(source + 2 * i + 8);
    __builtin_prefetch(source + 2 * i + kPrefetchBytes, 0, 0);
    if (first == second && AllEqual(first)) [[unlikely]] {
      counts[first & 0xffff] += 8;
      continue;
    }
    for (const uint64_t four : {first, second}) {
      ++counts[four & 0xffff];
      ++others[four >> 16 & 0xffff];
      ++counts[four >> 32 & 0xffff];
      ++others[four >> 48];
    }
  }
  for (; i < count; ++i) ++counts[LoadUnaligned<uint16_t>(source + 2 * i)];
}

void PatternCounters::Count32(std::span<const std::byte> values, uint32_t highest_exponent,
                              const CountKernels& kernels) {
  const uint64_t count = values.size() / sizeof(float);
  room_ -= count;
  const bool all_finite = highest_exponent + 1 < kExponents;
  const Count32Function count32 = (all_finite ? kernels : kBaselineCountKernels).count32;
  count32(values.data(), count, highest_exponent, counts_.data(), moments_[0]);
}

Histogram PatternCounters::Fold(DataType dtype, uint64_t& nonfinite, ExactSum& sum, ExactSum& sum_of_squares) {
  if (!in_use_) return {};
  room_ = kRoom;
  const auto count_of = [this](size_t pattern) {
    return uint64_t{std::exchange(counts_[pattern], 0)} + std::exchange(counts_[kPatterns + pattern], 0);
  };
  Histogram histogram = FoldCounts(dtype, count_of, nonfinite);
  if (dtype == DataType::kFloat32) AddMoments(histogram, std::exchange(moments_[0], {}), sum, sum_of_squares);
  return histogram;
}

Histogram FoldPatterns(DataType dtype, const PatternCounts& patterns, uint64_t& nonfinite, ExactSum& sum,
                       ExactSum& sum_of_squares) {
  Histogram histogram = FoldCounts(dtype, [&](size_t pattern) { return patterns.counts[pattern]; }, nonfinite);
  if (dtype == DataType::kFloat32) AddMoments(histogram, MomentsOf(patterns), sum, sum_of_squares);
  return histogram;
}

size_t PatternCounters::MemoryBytes() const {
  return counts_.capacity() * sizeof(uint32_t) + moments_.capacity() * sizeof(LowMoments);
}

size_t PatternCounters::MemoryBytesMax() { return kPatterns * kCountTables * sizeof(uint32_t) + sizeof(LowMoments); }

}  // namespace quantd
