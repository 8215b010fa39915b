// How often each pattern of the upper 16 bits occurs. Counters of magnitudes that are usual lie in shared memory, where
// equal ones of a warp are added at once; others are rare, but for zeros, which threads count by themselves.
#include <algorithm>

#include "kernels/cuda/device_extremes.cuh"
#include "kernels/cuda/device_formats.cuh"

namespace quantd {
namespace {

constexpr uint32_t kThreads = 1024;  // one CTA of a multiprocessor
constexpr uint32_t kVectorsAtOnce = 4;

// Patterns of one sign that have shared counters: `kCount` from `kFirst` on.
template <class Values>
struct Window;
template <>
struct Window<BFloat16Values> {
  static constexpr uint32_t kFirst = 32 << 7;  // 2^-95
  static constexpr uint32_t kCount = 192 << 7;
};
template <>
struct Window<Float16Values> {
  static constexpr uint32_t kFirst = 4 << 10;  // 2^-11
  static constexpr uint32_t kCount = 24 << 10;
};
template <>
struct Window<Float32Values> {                 // there are two counters for each
  static constexpr uint32_t kFirst = 80 << 7;  // 2^-47
  static constexpr uint32_t kCount = 90 << 7;
};

__device__ inline void AddGlobally(unsigned long long* counter, uint64_t value) {
  atomicAdd(counter, static_cast<unsigned long long>(value));
}

template <class Values>
class PatternCounter {
  using Patterns = Window<Values>;

 public:
  static constexpr uint32_t kSharedBytes = 2 * Patterns::kCount * sizeof(uint32_t);

  __device__ PatternCounter(uint32_t* shared, const DevicePatterns& patterns) : shared_(shared), patterns_(patterns) {
    for (uint32_t i = threadIdx.x; i < kSharedBytes / sizeof(uint32_t); i += kThreads) shared_[i] = 0;
    __syncthreads();
  }

  __device__ void CountWord(uint32_t word) {
    Count(word & 0xffff);
    Count(word >> 16);
  }
  __device__ void Count(uint32_t pattern) {
    const uint32_t place = (pattern & 0x7fff) - Patterns::kFirst;
    if (place < Patterns::kCount) {
      atomicAdd(&shared_[place + (pattern >> 15) * Patterns::kCount], 1u);
    } else if (pattern == 0) {
      ++zeros_;
    } else {
      AddGlobally(&patterns_.counts[pattern], 1);
    }
  }

  // All threads of the CTA together.
  __device__ void Finish() {
    const uint32_t zeros = __reduce_add_sync(0xffffffffu, zeros_);
    if (threadIdx.x % 32 == 0 && zeros != 0) AddGlobally(&patterns_.counts[0], zeros);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < 2 * Patterns::kCount; i += kThreads) {
      const uint32_t count = shared_[i];
      const uint32_t pattern =
          i < Patterns::kCount ? Patterns::kFirst + i : 0x8000 + Patterns::kFirst + i - Patterns::kCount;
      if (count != 0) AddGlobally(&patterns_.counts[pattern], count);
    }
  }

 private:
  uint32_t* shared_;
  DevicePatterns patterns_;
  uint32_t zeros_ = 0;
};

// The first and the last elements, which are no whole vectors, go to one warp.
template <class Bits, class OfVector, class OfValue>
__device__ void ForEach(const DeviceElements& elements, const OfVector& of_vector, const OfValue& of_value) {
  constexpr uint32_t kVectorValues = 16 / sizeof(Bits);
  const auto* const values = reinterpret_cast<const Bits*>(elements.values);
  const uint64_t misplaced = reinterpret_cast<uintptr_t>(values) % 16 / sizeof(Bits);
  const uint64_t head = min(misplaced == 0 ? 0 : kVectorValues - misplaced, elements.count);
  const uint64_t vectors = (elements.count - head) / kVectorValues;
  const auto* const first_vector = reinterpret_cast<const uint4*>(values + head);
  const uint64_t threads = uint64_t{gridDim.x} * kThreads;
  for (uint64_t first = uint64_t{blockIdx.x} * kThreads + threadIdx.x; first < vectors;
       first += kVectorsAtOnce * threads) {
    uint4 loaded[kVectorsAtOnce];
#pragma unroll
    for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
      loaded[i] = __ldcs(first_vector + min(first + i * threads, vectors - 1));
    }
#pragma unroll
    for (uint32_t i = 0; i < kVectorsAtOnce; ++i) {
      if (first + i * threads < vectors) of_vector(loaded[i]);
    }
  }
  if (blockIdx.x != 0 || threadIdx.x >= 32) return;
  for (uint64_t i = threadIdx.x; i < head; i += 32) of_value(values[i]);
  for (uint64_t i = head + vectors * kVectorValues + threadIdx.x; i < elements.count; i += 32) of_value(values[i]);
}

template <class Values>
__global__ void __launch_bounds__(kThreads, 1)
    CountPatterns16(const __grid_constant__ DeviceElements elements, const __grid_constant__ DevicePatterns patterns) {
  extern __shared__ uint32_t shared[];
  PatternCounter<Values> counter(shared, patterns);
  ForEach<uint16_t>(
      elements,
      [&](const uint4& vector) {
        counter.CountWord(vector.x);
        counter.CountWord(vector.y);
        counter.CountWord(vector.z);
        counter.CountWord(vector.w);
      },
      [&](uint16_t bits) { counter.Count(bits); });
  counter.Finish();
}

// Beside the count of a pattern the sum of the 16 lower bits, and of each exponent the sum of their squares in two
// halves. Counters of 32 bits: whose addition wraps one adds what it has lost to the global counter.
class Float32Counter {
  using Patterns = Window<Float32Values>;
  static constexpr uint32_t kExponents = 256;

 public:
  static constexpr uint32_t kSharedBytes = PatternCounter<Float32Values>::kSharedBytes + 2 * kExponents * 4;

  __device__ Float32Counter(uint32_t* shared, const DevicePatterns& patterns)
      : low_sums_(shared), squares_(shared + 2 * Patterns::kCount), patterns_(patterns) {
    for (uint32_t i = threadIdx.x; i < 2 * Patterns::kCount + 2 * kExponents; i += kThreads) shared[i] = 0;
    __syncthreads();
  }

  __device__ void Count(uint32_t bits) {
    const uint32_t low = bits & 0xffff;
    if (low == 0) return;
    const uint32_t pattern = bits >> 16;
    const uint32_t place = (pattern & 0x7fff) - Patterns::kFirst;
    if (place < Patterns::kCount) {
      Add(low_sums_[place + (pattern >> 15) * Patterns::kCount], low, &patterns_.low_sums[pattern], 1ull << 32);
    } else {
      AddGlobally(&patterns_.low_sums[pattern], low);
    }
    const uint32_t exponent = bits >> 23 & 0xff;
    const uint32_t square = low * low;
    Add(squares_[2 * exponent], square & 0xffff, &patterns_.low_squares[exponent], 1ull << 32);
    Add(squares_[2 * exponent + 1], square >> 16, &patterns_.low_squares[exponent], 1ull << 48);
  }

  // All threads of the CTA together.
  __device__ void Finish() {
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < 2 * Patterns::kCount; i += kThreads) {
      const uint32_t pattern =
          i < Patterns::kCount ? Patterns::kFirst + i : 0x8000 + Patterns::kFirst + i - Patterns::kCount;
      if (low_sums_[i] != 0) AddGlobally(&patterns_.low_sums[pattern], low_sums_[i]);
    }
    for (uint32_t i = threadIdx.x; i < 2 * kExponents; i += kThreads) {
      if (squares_[i] != 0) AddGlobally(&patterns_.low_squares[i / 2], uint64_t{squares_[i]} << (i % 2 * 16));
    }
  }

 private:
  __device__ static void Add(uint32_t& counter, uint32_t value, unsigned long long* global, uint64_t lost) {
    if (atomicAdd(&counter, value) > ~value) AddGlobally(global, lost);
  }

  uint32_t* low_sums_;
  uint32_t* squares_;
  DevicePatterns patterns_;
};

__global__ void __launch_bounds__(kThreads, 1)
    CountPatterns32(const __grid_constant__ DeviceElements elements, const __grid_constant__ DevicePatterns patterns,
                    DeviceBucket* bucket) {
  extern __shared__ uint32_t shared[];
  PatternCounter<Float32Values> counter(shared, patterns);
  Float32Counter low_bits(shared + PatternCounter<Float32Values>::kSharedBytes / sizeof(uint32_t), patterns);
  DeviceExtremes<Float32Values> extremes;
  const auto count = [&](uint32_t bits) {
    counter.Count(bits >> 16);
    if (!IsFiniteOnDevice<Float32Values>(bits)) return;
    low_bits.Count(bits);
    extremes.Include(bits);
  };
  ForEach<uint32_t>(
      elements,
      [&](const uint4& vector) {
        count(vector.x);
        count(vector.y);
        count(vector.z);
        count(vector.w);
      },
      count);
  counter.Finish();
  low_bits.Finish();
  DeviceKeys keys = extremes.Keys();
  keys.MergeLanes(5);
  if (threadIdx.x % 32 == 0) keys.MergeInto(bucket);
}

template <class Kernel, class... Arguments>
cudaError_t LaunchWith(Kernel kernel, uint32_t shared_bytes, cudaStream_t stream, const Arguments&... arguments) {
  int device = 0;
  int multiprocessors = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
      error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
      error != cudaSuccess) {
    return error;
  }
  kernel<<<static_cast<uint32_t>(multiprocessors), kThreads, shared_bytes, stream>>>(arguments...);
  return cudaSuccess;
}

}  // namespace

cudaError_t LaunchCountPatterns(const DeviceElements& elements, DataType dtype, const DevicePatterns& patterns,
                                DeviceBucket* bucket, cudaStream_t stream) {
  if (elements.count == 0) return cudaSuccess;
  if (dtype == DataType::kFloat32) {
    return LaunchWith(&CountPatterns32, PatternCounter<Float32Values>::kSharedBytes + Float32Counter::kSharedBytes,
                      stream, elements, patterns, bucket);
  }
  if (dtype == DataType::kFloat16) {
    return LaunchWith(&CountPatterns16<Float16Values>, PatternCounter<Float16Values>::kSharedBytes, stream, elements,
                      patterns);
  }
  return LaunchWith(&CountPatterns16<BFloat16Values>, PatternCounter<BFloat16Values>::kSharedBytes, stream, elements,
                    patterns);
}

}  // namespace quantd
