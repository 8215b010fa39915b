#include "server/session/compute_pool.h"

#include <utility>

namespace quantd::server {

ComputePool::ComputePool(uint32_t threads) {
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { RunThread(); });
}

ComputePool::~ComputePool() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void ComputePool::Submit(const Turn& turn, std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  queue_.Push(turn, std::move(work));
}

void ComputePool::SubmitFirst(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  first_.push_back(std::move(work));
}

bool ComputePool::HasWorkOrEnds() const { return ending_ || !first_.empty() || !queue_.empty(); }

void ComputePool::RunThread() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_, absl::Condition(this, &ComputePool::HasWorkOrEnds));
      if (!first_.empty()) {
        work = std::move(first_.front());
        first_.pop_front();
      } else if (!queue_.empty()) {
        work = queue_.Pop();
      } else {
        return;
      }
    }
    work();
  }
}

}  // namespace quantd::server
