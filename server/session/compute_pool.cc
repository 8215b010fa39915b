#include "server/session/compute_pool.h"

#include <algorithm>
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

void ComputePool::Submit(Priority priority, std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  queues_[static_cast<size_t>(priority)].push_back(std::move(work));
}

bool ComputePool::HasWorkOrEnds() const {
  return ending_ || std::any_of(queues_.begin(), queues_.end(), [](const auto& queue) { return !queue.empty(); });
}

void ComputePool::RunThread() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_, absl::Condition(this, &ComputePool::HasWorkOrEnds));
      const auto queue = std::find_if(queues_.rbegin(), queues_.rend(), [](const auto& q) { return !q.empty(); });
      if (queue == queues_.rend()) return;
      work = std::move(queue->front());
      queue->pop_front();
    }
    work();
  }
}

}  // namespace quantd::server
