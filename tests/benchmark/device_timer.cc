#include "tests/benchmark/device_timer.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace quantd::testing {
namespace {

class Event {
 public:
  Event() { Check(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace

void Check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

double SecondsOf(int rounds, cudaStream_t stream, const std::function<void()>& work) {
  const Event begin;
  const Event end;
  std::vector<float> milliseconds;
  work();
  for (int round = 0; round < rounds; ++round) {
    Check(cudaEventRecord(begin.get(), stream));
    work();
    Check(cudaEventRecord(end.get(), stream));
    Check(cudaEventSynchronize(end.get()));
    milliseconds.push_back(0);
    Check(cudaEventElapsedTime(&milliseconds.back(), begin.get(), end.get()));
  }
  Check(cudaGetLastError());
  std::ranges::nth_element(milliseconds, milliseconds.begin() + rounds / 2);
  return static_cast<double>(milliseconds[static_cast<size_t>(rounds / 2)]) * 1e-3;
}

}  // namespace quantd::testing
