// Ranges of buckets: a warp for a piece of a run, lanes for short runs, a lane for columns.
#include <algorithm>
#include <bit>

#include "kernels/cuda/device_extremes.cuh"
#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/launch.cuh"

namespace quantd {
namespace {

constexpr uint32_t kLanes = 32;
constexpr uint32_t kVectorsAtOnce = 4;  // of a thread, under way together
constexpr uint64_t kPieceBytes = 16 << 10;
constexpr uint64_t kBlocksWanted = 132 * 5;
constexpr uint64_t kColumnRunMax = 16;

template <class Values>
inline constexpr uint32_t kVectorValues = 16 / sizeof(typename Values::Bits);

template <class Values>
__device__ const typename Values::Bits* ValuesOf(const DeviceElements& elements) {
  return reinterpret_cast<const typename Values::Bits*>(elements.values);
}

__device__ inline uint4 LoadVector(const void* values) { return __ldcs(static_cast<const uint4*>(values)); }

// Any geometry. Pieces of `piece` elements of a run, the last may be shorter.
template <class Values>
__global__ void __launch_bounds__(kBlockThreads)
    CountRuns(DeviceElements elements, BucketGeometry geometry, uint64_t first_run, uint64_t pieces_of_run,
              uint64_t piece, uint64_t pieces, DeviceBucket* buckets) {
  const uint64_t period_runs = (geometry.period - 1) / geometry.run + 1;
  const uint32_t lane = threadIdx.x % kLanes;
  const typename Values::Bits* const values = ValuesOf<Values>(elements);
  for (uint64_t item = ThreadIndex() / kLanes; item < pieces; item += ThreadCount() / kLanes) {
    const uint64_t run = first_run + item / pieces_of_run;
    const uint64_t period_begin = run / period_runs * geometry.period;
    const uint64_t run_begin = period_begin + run % period_runs * geometry.run;
    const uint64_t run_end = min(run_begin + geometry.run, period_begin + geometry.period);
    const uint64_t piece_begin = run_begin + item % pieces_of_run * piece;
    const uint64_t begin = max(piece_begin, elements.begin) - elements.begin;
    const uint64_t end =
        max(min(min(piece_begin + piece, run_end), elements.begin + elements.count), elements.begin) - elements.begin;
    if (begin >= end) continue;
    DeviceBucket* const bucket = buckets + (geometry.anew ? run % period_runs : run);
    DeviceExtremes<Values> extremes;
    const auto include = [&](uint64_t index) {
      const auto bits = values[index];
      if (!IsFiniteOnDevice<Values>(bits)) {
        atomicAdd(&bucket->nonfinite, 1ull);
      } else {
        extremes.Include(kWordValues<Values> == 2 ? bits * 0x10001u : bits);
      }
    };
    const uint64_t misplaced = reinterpret_cast<uintptr_t>(values + begin) % 16 / sizeof(typename Values::Bits);
    const uint64_t vectors_begin = min(misplaced == 0 ? begin : begin + kVectorValues<Values> - misplaced, end);
    const uint64_t vectors = (end - vectors_begin) / kVectorValues<Values>;
    for (uint64_t i = begin + lane; i < vectors_begin; i += kLanes) include(i);
    for (uint64_t first = lane; first < vectors; first += kLanes * kVectorsAtOnce) {
      uint4 loaded[kVectorsAtOnce];
#pragma unroll
      for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
        const uint64_t vector = first + i * kLanes;
        loaded[i] = vector < vectors ? LoadVector(values + vectors_begin + vector * kVectorValues<Values>) : uint4{};
      }
#pragma unroll
      for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
        if (first + i * kLanes < vectors) extremes.Merge(ExtremesOf<Values>(loaded[i], &bucket->nonfinite));
      }
    }
    for (uint64_t i = vectors_begin + vectors * kVectorValues<Values> + lane; i < end; i += kLanes) include(i);
    DeviceKeys keys = extremes.Keys();
    __syncwarp();
    keys.MergeLanes(5);
    if (lane == 0) keys.MergeInto(bucket);
  }
}

// Whole runs of 2^`lanes_log2` vectors, one after another, and each has a bucket for itself.
template <class Values>
__global__ void __launch_bounds__(kBlockThreads)
    CountShortRuns(DeviceElements elements, uint32_t lanes_log2, uint64_t first_bucket, DeviceBucket* buckets) {
  const uint64_t vectors = elements.count / kVectorValues<Values>;
  const uint64_t first = uint64_t{blockIdx.x} * kBlockThreads * kVectorsAtOnce + threadIdx.x;
  const auto bucket_of = [&](uint64_t vector) { return buckets + first_bucket + (vector >> lanes_log2); };
  const bool leads = (threadIdx.x & ((1u << lanes_log2) - 1)) == 0;
  uint4 loaded[kVectorsAtOnce];
  DeviceKeys before[kVectorsAtOnce];
#pragma unroll
  for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
    const uint64_t vector = min(first + i * kBlockThreads, vectors - 1);
    loaded[i] = LoadVector(elements.values + vector * 16);
    if (leads) before[i] = {bucket_of(vector)->lowest_key, bucket_of(vector)->highest_key};
  }
#pragma unroll
  for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
    const uint64_t vector = first + i * kBlockThreads;
    const bool is_there = vector < vectors;
    DeviceKeys keys = ExtremesOf<Values>(loaded[i], is_there ? &bucket_of(vector)->nonfinite : nullptr).Keys();
    keys.MergeLanes(lanes_log2);
    if (!is_there || !leads) continue;
    keys.Merge(before[i]);
    *reinterpret_cast<uint2*>(bucket_of(vector)) = make_uint2(keys.lowest, keys.highest);
  }
}

// Whole rows of `columns` values. 2^`threads_log2` threads have neighbouring columns, as many each as a vector has
// values, and those beyond have other rows.
template <class Values>
__global__ void __launch_bounds__(kBlockThreads)
    CountColumns(DeviceElements elements, uint32_t columns, uint32_t column_run, uint64_t rows, uint64_t block_rows,
                 uint32_t threads_log2, DeviceBucket* buckets) {
  const uint32_t row_threads = kBlockThreads >> threads_log2;
  const uint32_t place = threadIdx.x & ((1u << threads_log2) - 1);
  const uint32_t column = ((blockIdx.x << threads_log2) + place) * kVectorValues<Values>;
  if (column >= columns) return;
  const uint64_t end = min((blockIdx.y + 1) * block_rows, rows);
  const auto* const values = ValuesOf<Values>(elements) + column;
  DeviceExtremes<Values> extremes[4];
  for (uint64_t row = blockIdx.y * block_rows + (threadIdx.x >> threads_log2); row < end;
       row += row_threads * kVectorsAtOnce) {
    uint4 loaded[kVectorsAtOnce];
#pragma unroll
    for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
      const uint64_t other = row + i * row_threads;
      loaded[i] = LoadVector(values + (other < end ? other : row) * columns);
    }
    DeviceExtremes<Values> more[4] = {extremes[0], extremes[1], extremes[2], extremes[3]};
    bool nonfinite = false;
#pragma unroll
    for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
      more[0].Include(loaded[i].x);
      more[1].Include(loaded[i].y);
      more[2].Include(loaded[i].z);
      more[3].Include(loaded[i].w);
    }
#pragma unroll
    for (uint32_t word = 0; word < 4; ++word) nonfinite = nonfinite || more[word].HasNonfinite();
    if (!nonfinite) {
#pragma unroll
      for (uint32_t word = 0; word < 4; ++word) extremes[word] = more[word];
      continue;
    }
#pragma unroll 1
    for (uint32_t i = 0; i < kVectorsAtOnce && row + i * row_threads < end; ++i) {
#pragma unroll 1
      for (uint32_t k = 0; k < kVectorValues<Values>; ++k) {
        const auto bits = values[(row + i * row_threads) * columns + k];
        DeviceBucket* const bucket = buckets + (column + k) / column_run;
        if (!IsFiniteOnDevice<Values>(bits)) {
          atomicAdd(&bucket->nonfinite, 1ull);
        } else {
          const uint32_t key = DeviceExtremes<Values>::Key(bits);
          DeviceKeys{key, key}.MergeInto(bucket);
        }
      }
    }
  }
#pragma unroll
  for (uint32_t word = 0; word < 4; ++word) {
#pragma unroll
    for (uint32_t k = 0; k < kWordValues<Values>; ++k) {
      extremes[word].KeysAt(k).MergeInto(buckets + (column + word * kWordValues<Values> + k) / column_run);
    }
  }
}

template <class Values>
void Launch(const DeviceElements& elements, const BucketGeometry& geometry, DeviceBucket* buckets,
            cudaStream_t stream) {
  constexpr uint64_t kBytes = sizeof(typename Values::Bits);
  constexpr uint64_t kVector = kVectorValues<Values>;
  if (elements.count == 0) return;
  const bool aligned = reinterpret_cast<uintptr_t>(elements.values) % 16 == 0;
  const uint64_t run_vectors = geometry.run / kVector;
  const bool whole_runs =
      geometry.period % geometry.run == 0 && elements.begin % geometry.run == 0 && elements.count % geometry.run == 0;
  if (aligned && whole_runs && !geometry.anew && geometry.run % kVector == 0 && run_vectors <= kLanes &&
      std::has_single_bit(run_vectors)) {
    const uint64_t vectors = elements.count / kVector;
    constexpr uint64_t kBlockVectors = uint64_t{kBlockThreads} * kVectorsAtOnce;
    CountShortRuns<Values>
        <<<static_cast<uint32_t>((vectors + kBlockVectors - 1) / kBlockVectors), kBlockThreads, 0, stream>>>(
            elements, static_cast<uint32_t>(std::countr_zero(run_vectors)), elements.begin / geometry.run, buckets);
    return;
  }
  const bool whole_rows = elements.begin % geometry.period == 0 && elements.count % geometry.period == 0;
  if (aligned && whole_rows && geometry.anew && geometry.run < kColumnRunMax && geometry.period > geometry.run &&
      geometry.period % kVector == 0 && geometry.period < (uint64_t{1} << 31)) {
    const uint64_t rows = elements.count / geometry.period;
    const uint64_t row_vectors = geometry.period / kVector;
    const uint64_t threads = std::min<uint64_t>(std::bit_ceil(row_vectors), kBlockThreads);
    const uint64_t wide = (row_vectors + threads - 1) / threads;
    const uint64_t high = std::clamp<uint64_t>(kBlocksWanted / wide, 1, std::min<uint64_t>(rows, 65535));
    const uint64_t block_rows = (rows + high - 1) / high;
    CountColumns<Values>
        <<<dim3(static_cast<uint32_t>(wide), static_cast<uint32_t>((rows + block_rows - 1) / block_rows)),
           kBlockThreads, 0, stream>>>(elements, static_cast<uint32_t>(geometry.period),
                                       static_cast<uint32_t>(geometry.run), rows, block_rows,
                                       static_cast<uint32_t>(std::countr_zero(threads)), buckets);
    return;
  }
  const uint64_t piece = std::min(geometry.run, kPieceBytes / kBytes);
  const uint64_t period_runs = (geometry.period - 1) / geometry.run + 1;
  const auto run_of = [&](uint64_t element) {
    return element / geometry.period * period_runs + element % geometry.period / geometry.run;
  };
  const uint64_t first_run = run_of(elements.begin);
  const uint64_t runs = run_of(elements.begin + elements.count - 1) - first_run + 1;
  const uint64_t pieces_of_run = (geometry.run + piece - 1) / piece;
  const uint64_t pieces = runs * pieces_of_run;
  CountRuns<Values><<<BlocksFor(pieces * kLanes), kBlockThreads, 0, stream>>>(elements, geometry, first_run,
                                                                              pieces_of_run, piece, pieces, buckets);
}

}  // namespace

void LaunchCountRanges(const DeviceElements& elements, DataType dtype, const BucketGeometry& geometry,
                       DeviceBucket* buckets, cudaStream_t stream) {
  WithValues(dtype, [&]<class Values>(Values) { Launch<Values>(elements, geometry, buckets, stream); });
}

}  // namespace quantd
