#include "kernels/calibrate/tensor_statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

constexpr size_t kExtremesPerColumn = 3;
constexpr size_t kRunsTogether = 16;
constexpr uint64_t kBlockBytes = 16 << 10;  // what several loops read one after the other
static_assert(kBlockBytes / sizeof(float) <= kCountTogetherMax);

uint32_t KeyOf(DataType dtype, uint32_t bits) {
  return WithValues(dtype, [bits]<class Values>(Values) {
    return OrderedKey(Values::Widen(static_cast<typename Values::Bits>(bits)));
  });
}

KeyRange KeysOf(DataType dtype, const Extremes& extremes) {
  if (extremes.unsigned_min == ~0u) return {};
  const uint32_t sign = 1u << (8 * SizeBytes(dtype) - 1);
  const uint32_t lowest = extremes.unsigned_max >= sign ? extremes.unsigned_max : extremes.unsigned_min;
  const uint32_t highest = static_cast<int32_t>(extremes.signed_max) >= 0 ? extremes.signed_max : extremes.unsigned_min;
  return {KeyOf(dtype, lowest), KeyOf(dtype, highest)};
}

absl::Status Incompatible(const std::string& what) {
  return InvalidArgument(reason::kIncompatibleStatistics,
                         absl::StrCat("the statistics differ in their ", what, " and cannot be counted together"));
}

absl::Status CheckDtype(DataType dtype) {
  const auto number = static_cast<size_t>(dtype);
  if (number >= 1 && number <= std::size(kDataTypes) && InfoOf(dtype).is_float) return absl::OkStatus();
  return InvalidArgument(reason::kInvalidDtype, "statistics are of float32, float16 or bfloat16 values");
}

}  // namespace

float BucketRange::Absmax() const {
  return count == nonfinite ? 0.0f : std::max(lowest < 0 ? -lowest : 0.0f, highest > 0 ? highest : 0.0f);
}

absl::StatusOr<TensorStatistics> TensorStatistics::Make(const StatisticsConfig& config, DataType dtype,
                                                        std::span<const uint64_t> shape) {
  QUANTD_RETURN_IF_ERROR(CheckDtype(dtype));
  QUANTD_ASSIGN_OR_RETURN(const BucketGeometry geometry, BucketGeometry::Make(config, shape));
  TensorStatistics statistics;
  statistics.config_ = config;
  statistics.dtype_ = dtype;
  statistics.geometry_ = geometry;
  statistics.extents_ = CommonExtents(config, shape);
  statistics.buckets_.resize(geometry.buckets);
  if (config.collection == StatisticsCollection::kImportance) statistics.square_sums_.Resize(geometry.buckets);
  return statistics;
}

absl::StatusOr<uint64_t> TensorStatistics::MemoryBytesMax(const StatisticsConfig& config, DataType dtype,
                                                          std::span<const uint64_t> shape) {
  QUANTD_RETURN_IF_ERROR(CheckDtype(dtype));
  QUANTD_ASSIGN_OR_RETURN(const BucketGeometry geometry, BucketGeometry::Make(config, shape));
  uint64_t bytes = sizeof(TensorStatistics) + kStatisticsRankMax * sizeof(uint64_t);
  bytes += geometry.buckets * (sizeof(Bucket) + sizeof(uint64_t) + kExtremesPerColumn * SizeBytes(dtype));
  if (config.collection == StatisticsCollection::kImportance) bytes += SquareSums::MemoryBytesOf(geometry.buckets);
  if (config.collection == StatisticsCollection::kDistribution) {
    bytes += PatternCounters::MemoryBytesMax() + kPatterns * (sizeof(uint16_t) + sizeof(uint64_t));
  }
  return bytes;
}

size_t TensorStatistics::MemoryBytes() const {
  return sizeof(*this) + extents_.capacity() * sizeof(uint64_t) + buckets_.capacity() * sizeof(Bucket) +
         histogram_.MemoryBytes() + square_sums_.MemoryBytes() + counters_.MemoryBytes() +
         columns_.extremes.capacity() + columns_.nonfinite.capacity() * sizeof(uint64_t);
}

void TensorStatistics::Add(uint64_t begin, std::span<const std::byte> values, const CountKernels& kernels) {
  assert(values.size() % SizeBytes(dtype_) == 0 && begin + values.size() / SizeBytes(dtype_) <= geometry_.elements);
  if (values.empty()) return;
  const ScopedFloatEnvironment environment;
  if (config_.collection == StatisticsCollection::kDistribution) {
    AddDistribution(values, kernels);
  } else if (geometry_.is_columns()) {
    AddColumns(begin, values, kernels);
  } else {
    AddRuns(begin, values, kernels);
  }
}

void TensorStatistics::AddDistribution(std::span<const std::byte> values, const CountKernels& kernels) {
  buckets_[0].count += values.size() / SizeBytes(dtype_);
  counters_.Prepare(dtype_);
  while (!values.empty()) {
    if (counters_.room() == 0) FoldCounters();
    const uint64_t bytes = std::min({uint64_t{values.size()}, kBlockBytes, counters_.room() * SizeBytes(dtype_)});
    const auto block = values.first(bytes);
    values = values.subspan(bytes);
    if (dtype_ == DataType::kFloat32) {
      counters_.Count32(block, FindHighestExponent(block, kernels), kernels);
    } else {
      counters_.Count16(block);  // the histogram knows the range
    }
  }
}

// Of float32. Widens the range by the block's.
uint32_t TensorStatistics::FindHighestExponent(std::span<const std::byte> block, const CountKernels& kernels) {
  Extremes extremes;
  kernels.run[FloatTypeIndex(dtype_)](block.data(), block.size() / sizeof(float), extremes);
  const KeyRange keys = KeysOf(dtype_, extremes);
  buckets_[0].lowest_key = std::min(buckets_[0].lowest_key, keys.lowest);
  buckets_[0].highest_key = std::max(buckets_[0].highest_key, keys.highest);
  if (extremes.nonfinite != 0) return kExponents - 1;
  const float absmax = std::max(std::fabs(FromOrderedKey(keys.lowest)), std::fabs(FromOrderedKey(keys.highest)));
  return std::bit_cast<uint32_t>(absmax) >> 23;
}

void TensorStatistics::AddCounted(uint64_t begin, uint64_t end) {
  const uint64_t period = geometry_.period;
  const auto count_runs = [this](uint64_t first, uint64_t last, uint64_t times) {
    for (RunWalker walker(geometry_, first); first < last; walker.Next()) {
      const uint64_t next = std::min(walker.run_end(), last);
      buckets_[walker.bucket()].count += (next - first) * times;
      first = next;
    }
  };
  // Of whole periods that have the same buckets, the runs of one.
  const uint64_t whole_begin = (begin + period - 1) / period * period;
  const uint64_t whole_end = end / period * period;
  if (!geometry_.anew || whole_begin >= whole_end) return count_runs(begin, end, 1);
  count_runs(begin, whole_begin, 1);
  count_runs(whole_begin, whole_begin + period, (whole_end - whole_begin) / period);
  count_runs(whole_end, end, 1);
}

void TensorStatistics::AddFound(std::span<const CountedBucket> buckets) {
  assert(buckets.size() == buckets_.size());
  for (size_t i = 0; i < buckets.size(); ++i) {
    buckets_[i].lowest_key = std::min(buckets_[i].lowest_key, buckets[i].lowest_key);
    buckets_[i].highest_key = std::max(buckets_[i].highest_key, buckets[i].highest_key);
    buckets_[i].nonfinite += buckets[i].nonfinite;
  }
}

void TensorStatistics::AddFound(const PatternCounts& patterns) {
  const ScopedFloatEnvironment environment;
  AddHistogram(FoldPatterns(dtype_, patterns, buckets_[0].nonfinite, sum_, sum_of_squares_));
}

void TensorStatistics::AddRuns(uint64_t begin, std::span<const std::byte> values, const CountKernels& kernels) {
  const uint64_t value_bytes = SizeBytes(dtype_);
  const RunsFunction count_runs = kernels.runs[FloatTypeIndex(dtype_)];
  const uint64_t end = begin + values.size() / value_bytes;
  RunWalker walker(geometry_, begin);
  while (begin < end) {
    // Adjoining runs of one length.
    const uint64_t count = std::min(walker.run_end(), end) - begin;
    std::array<uint64_t, kRunsTogether> indices;
    uint64_t runs = 0;
    do {
      indices[runs++] = walker.bucket();
      begin += count;
      walker.Next();
    } while (runs < kRunsTogether && begin + count <= end && walker.run_end() - begin == count);
    std::array<Extremes, kRunsTogether> extremes;
    count_runs(values.data(), count, runs, extremes.data());
    for (uint64_t run = 0; run < runs; ++run) {
      const KeyRange keys = KeysOf(dtype_, extremes[run]);
      Bucket& bucket = buckets_[indices[run]];
      bucket.count += count;
      bucket.nonfinite += extremes[run].nonfinite;
      bucket.lowest_key = std::min(bucket.lowest_key, keys.lowest);
      bucket.highest_key = std::max(bucket.highest_key, keys.highest);
      if (config_.collection == StatisticsCollection::kImportance) {
        square_sums_.AddRun(indices[run], dtype_, values.subspan(run * count * value_bytes, count * value_bytes));
      }
    }
    values = values.subspan(runs * count * value_bytes);
  }
}

void TensorStatistics::AddColumns(uint64_t begin, std::span<const std::byte> values, const CountKernels& kernels) {
  const uint64_t value_bytes = SizeBytes(dtype_);
  const uint64_t columns = geometry_.period;
  if (columns_.nonfinite.empty()) {
    columns_.nonfinite.resize(columns);
    columns_.extremes.resize(columns * value_bytes * kExtremesPerColumn);
    // No value: the lowest signed one, 0, all ones.
    std::byte* const signed_max = columns_.extremes.data();
    for (uint64_t i = value_bytes - 1; i < columns * value_bytes; i += value_bytes) signed_max[i] = std::byte{0x80};
    std::fill_n(signed_max + 2 * columns * value_bytes, columns * value_bytes, std::byte{0xff});
  }
  const auto take = [&values, value_bytes](uint64_t count) {
    const auto taken = values.first(count * value_bytes);
    values = values.subspan(count * value_bytes);
    return taken;
  };
  const auto left = [&values, value_bytes] { return values.size() / value_bytes; };
  const uint64_t first_column = begin % columns;
  if (first_column != 0) {
    CountRow(first_column, 1, take(std::min<uint64_t>(columns - first_column, left())), kernels);
  }
  const uint64_t rows = left() / columns;
  if (rows != 0) CountRow(0, rows, take(rows * columns), kernels);
  if (left() != 0) CountRow(0, 1, take(left()), kernels);
}

// One row or part of it, or several whole ones.
void TensorStatistics::CountRow(uint64_t first_bucket, uint64_t rows, std::span<const std::byte> values,
                                const CountKernels& kernels) {
  const uint64_t value_bytes = SizeBytes(dtype_);
  const uint64_t columns = values.size() / value_bytes / rows;
  std::byte* const extremes = columns_.extremes.data() + first_bucket * value_bytes;
  const uint64_t array_bytes = geometry_.period * value_bytes;
  kernels.columns[FloatTypeIndex(dtype_)](
      values.data(), rows, columns, columns,
      {extremes, extremes + array_bytes, extremes + 2 * array_bytes, &columns_.nonfinite[first_bucket]});
  if (columns == geometry_.period) {
    columns_.whole_rows += rows;
  } else {
    for (uint64_t column = 0; column < columns; ++column) ++buckets_[first_bucket + column].count;
  }
  if (config_.collection != StatisticsCollection::kImportance) return;
  for (uint64_t row = 0; row < rows; ++row) {
    square_sums_.AddRow(first_bucket, dtype_, values.subspan(row * columns * value_bytes, columns * value_bytes));
  }
}

void TensorStatistics::FoldColumns() {
  if (columns_.nonfinite.empty()) return;
  WithValues(dtype_, [this]<class Values>(Values) {
    using Bits = typename Values::Bits;
    const std::byte* const arrays = columns_.extremes.data();
    const uint64_t columns = buckets_.size();
    for (uint64_t i = 0; i < columns; ++i) {
      const auto at = [&](uint64_t array) {
        return LoadUnaligned<Bits>(arrays + (array * columns + i) * sizeof(Bits));
      };
      Extremes extremes{.signed_max = static_cast<uint32_t>(int32_t{static_cast<std::make_signed_t<Bits>>(at(0))}),
                        .unsigned_max = at(1)};
      if (at(2) != static_cast<Bits>(~Bits{0})) extremes.unsigned_min = at(2);
      const KeyRange keys = KeysOf(dtype_, extremes);
      Bucket& bucket = buckets_[i];
      bucket.lowest_key = std::min(bucket.lowest_key, keys.lowest);
      bucket.highest_key = std::max(bucket.highest_key, keys.highest);
      bucket.count += columns_.whole_rows;
      bucket.nonfinite += columns_.nonfinite[i];
    }
  });
  columns_ = {};
}

void TensorStatistics::FoldCounters() {
  if (counters_.in_use()) AddHistogram(counters_.Fold(dtype_, buckets_[0].nonfinite, sum_, sum_of_squares_));
}

void TensorStatistics::AddHistogram(const Histogram& counted) {
  Bucket& bucket = buckets_[0];
  if (dtype_ != DataType::kFloat32 && counted.size() != 0) {
    const std::vector<uint32_t> order = AscendingOrder(counted);
    bucket.lowest_key = std::min(bucket.lowest_key, KeyOf(dtype_, counted.patterns[order.front()]));
    bucket.highest_key = std::max(bucket.highest_key, KeyOf(dtype_, counted.patterns[order.back()]));
  }
  histogram_.Merge(counted);
}

void TensorStatistics::Compact() {
  const ScopedFloatEnvironment environment;
  FoldColumns();
  FoldCounters();
  counters_.Release();
  if (config_.collection == StatisticsCollection::kImportance) square_sums_.Carry();
}

bool TensorStatistics::IsCompact() const { return !counters_.in_use() && columns_.nonfinite.empty(); }

TensorStatistics TensorStatistics::Compacted() const {
  TensorStatistics copy = *this;
  copy.Compact();
  return copy;
}

absl::Status TensorStatistics::Merge(const TensorStatistics& other) {
  if (!other.IsCompact()) return Merge(other.Compacted());
  if (config_ != other.config_) return Incompatible("configuration");
  if (dtype_ != other.dtype_) return Incompatible("element type");
  if (extents_ != other.extents_) return Incompatible("shape");
  Compact();
  if (Total().count + other.Total().count > kStatisticsElementsMax) {
    return MakeError(absl::StatusCode::kOutOfRange, reason::kStatisticsLimit,
                     "together these are statistics of more than 2^48 elements");
  }
  for (size_t i = 0; i < buckets_.size(); ++i) {
    Bucket& mine = buckets_[i];
    const Bucket& others = other.buckets_[i];
    mine.count += others.count;
    mine.nonfinite += others.nonfinite;
    mine.lowest_key = std::min(mine.lowest_key, others.lowest_key);
    mine.highest_key = std::max(mine.highest_key, others.highest_key);
  }
  histogram_.Merge(other.histogram_);
  sum_.Merge(other.sum_);
  sum_of_squares_.Merge(other.sum_of_squares_);
  square_sums_.Merge(other.square_sums_);
  return absl::OkStatus();
}

std::vector<BucketRange> TensorStatistics::Ranges() const {
  if (!IsCompact()) return Compacted().Ranges();
  std::vector<BucketRange> ranges;
  ranges.reserve(buckets_.size());
  for (const Bucket& bucket : buckets_) {
    ranges.push_back(
        {bucket.count, bucket.nonfinite, FromOrderedKey(bucket.lowest_key), FromOrderedKey(bucket.highest_key)});
  }
  return ranges;
}

BucketRange TensorStatistics::Total() const {
  if (!IsCompact()) return Compacted().Total();
  Bucket total;
  for (const Bucket& bucket : buckets_) {
    total.count += bucket.count;
    total.nonfinite += bucket.nonfinite;
    total.lowest_key = std::min(total.lowest_key, bucket.lowest_key);
    total.highest_key = std::max(total.highest_key, bucket.highest_key);
  }
  return {total.count, total.nonfinite, FromOrderedKey(total.lowest_key), FromOrderedKey(total.highest_key)};
}

Histogram TensorStatistics::Distribution() const { return IsCompact() ? histogram_ : Compacted().histogram_; }

ExactSum TensorStatistics::Sum() const {
  const ScopedFloatEnvironment environment;
  if (!IsCompact()) return Compacted().Sum();
  return dtype_ == DataType::kFloat32 ? sum_ : SumOf(dtype_, histogram_);
}

ExactSum TensorStatistics::SumOfSquares() const {
  const ScopedFloatEnvironment environment;
  if (!IsCompact()) return Compacted().SumOfSquares();
  if (config_.collection == StatisticsCollection::kDistribution) {
    return dtype_ == DataType::kFloat32 ? sum_of_squares_ : SumOfSquaresOf(dtype_, histogram_);
  }
  ExactSum sum;
  for (uint64_t bucket = 0; bucket < square_sums_.buckets(); ++bucket) sum.Merge(square_sums_.Sum(bucket));
  return sum;
}

std::vector<double> TensorStatistics::MeanSquares() const {
  const ScopedFloatEnvironment environment;
  if (!IsCompact()) return Compacted().MeanSquares();
  if (config_.collection == StatisticsCollection::kRange) return {};
  std::vector<double> means;
  means.reserve(buckets_.size());
  for (size_t i = 0; i < buckets_.size(); ++i) {
    const uint64_t finite = buckets_[i].count - buckets_[i].nonfinite;
    const bool of_buckets = config_.collection == StatisticsCollection::kImportance;
    const double sum = of_buckets ? square_sums_.Sum(i).Value() : SumOfSquares().Value();
    means.push_back(finite == 0 ? 0 : sum / static_cast<double>(finite));
  }
  return means;
}

}  // namespace quantd
