// Several sessions on real computing threads that share few slots: for ThreadSanitizer, and for deadlocks.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "kernels/cpu/cpu_backend.h"
#include "server/session/compute_pool.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Request;

// A transport with a thread of its own: answers the session's calls from there, as gRPC does.
class ThreadedIo final : public StreamIo {
 public:
  explicit ThreadedIo(std::deque<RequestFrame> to_send) : to_send_(std::move(to_send)) {}

  void Read() override { Post(&ThreadedIo::AnswerRead); }
  void Write(ResponseFrame frame) override {
    absl::MutexLock lock(&mutex_);
    written_.push_back(std::move(frame));
    calls_.push_back(&ThreadedIo::AnswerWrite);
  }
  void Finish(absl::Status status) override {
    absl::MutexLock lock(&mutex_);
    finished_ = std::move(status);
  }
  void Abort() override { ADD_FAILURE() << "cut off"; }

  // Runs until the session has finished, or gives up on it when told so, which is asked with the number of frames that
  // have been delivered.
  void Run(StreamSession& session, const std::function<bool(size_t)>& gives_up) {
    session.Start();
    size_t delivered = 0;
    while (const auto call = NextCall()) {
      if (call == &ThreadedIo::AnswerRead && gives_up(delivered++)) session.OnCancelled();
      (this->*call)(session);
    }
    session.Detach();
    // As a transport does with what it will not send: others wait for the slots in it.
    std::deque<ResponseFrame> unsent;
    absl::MutexLock lock(&mutex_);
    unsent.swap(written_);
  }

  const absl::Status& status() const { return *finished_; }
  uint32_t summaries() const { return summaries_; }

 private:
  using Call = void (ThreadedIo::*)(StreamSession&);

  void Post(Call call) {
    absl::MutexLock lock(&mutex_);
    calls_.push_back(call);
  }
  Call NextCall() {
    const auto ready = [this] { return finished_.has_value() || !calls_.empty(); };
    absl::MutexLock lock(&mutex_, absl::Condition(&ready));
    if (finished_.has_value()) return nullptr;
    const Call call = calls_.front();
    calls_.pop_front();
    return call;
  }
  void AnswerRead(StreamSession& session) {
    if (to_send_.empty()) return session.OnHalfClose();
    RequestFrame frame = std::move(to_send_.front());
    to_send_.pop_front();
    session.OnFrame(std::move(frame));
  }
  void AnswerWrite(StreamSession& session) {
    ResponseFrame frame;
    {
      absl::MutexLock lock(&mutex_);
      if (written_.empty()) return;
      frame = std::move(written_.front());
      written_.pop_front();
    }
    summaries_ += frame.summary.has_value();
    frame.pieces.clear();
    session.OnWritten();
  }

  std::deque<RequestFrame> to_send_;
  uint32_t summaries_ = 0;
  absl::Mutex mutex_;
  std::deque<Call> calls_;
  std::deque<ResponseFrame> written_;
  std::optional<absl::Status> finished_;
};

constexpr uint32_t kStreams = 6;
constexpr uint32_t kTensors = 4;

class SessionStress : public ::testing::Test {
 protected:
  SessionEnvironment Environment() {
    return {.direction = Direction::kQuantize,
            .limits = limits_,
            .backend = *backend_,
            .arena = *arena_,
            .plans = plans_,
            .spool_budget = spool_budget_,
            .credit_budget = credit_budget_,
            .load_budget = load_budget_,
            .clock = clock_,
            .submit = [this](const Turn& turn, std::function<void()> work) { pool_->Submit(turn, std::move(work)); },
            .run_here = [this](const std::function<void()>& work) { return pool_->TryRunHere(work); },
            .uploads = &uploads_};
  }
  static std::deque<RequestFrame> Tensors(std::mt19937_64& random) {
    std::deque<RequestFrame> frames;
    for (uint64_t seq = 1; seq <= kTensors; ++seq) {
      TensorRequest request = Request(DataType::kFloat32, {1 + random() % 400'000}, "bnb-nf4",
                                      {{"double_quant", random() % 2 == 0 ? "true" : "false"}});
      // Few ids: streams begin each other's uploads anew, and forget what others have parked.
      request.upload.emplace().id = "an-id-that-many-share-" + std::to_string(random() % 3);
      const auto tensor = testing::QuantizeInput(request, Bytes(request.shape[0] * sizeof(float)));
      for (RequestFrame& frame : testing::Frames(seq, tensor, 100'000 + random() % 4'000'000)) {
        frames.push_back(std::move(frame));
      }
    }
    return frames;
  }
  // Streams side by side, stream i given up after frames_max(i) frames.
  template <class F>
  void RunStreams(F frames_max, std::vector<std::unique_ptr<ThreadedIo>>& ios) {
    std::mt19937_64 random = testing::MakeRandom(1);
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kStreams; ++i) {
      ThreadedIo& io = *ios.emplace_back(std::make_unique<ThreadedIo>(Tensors(random)));
      threads.emplace_back([this, &io, most = frames_max(i)] {
        io.Run(*std::make_shared<StreamSession>(Environment(), io),
               [most](size_t delivered) { return delivered == most; });
      });
    }
    for (std::thread& thread : threads) thread.join();
    arena_->Close();
    pool_.reset();  // its threads have let go of what they computed
  }

  const Limits limits_{.slot_bytes = 1 << 20, .slots_max = 3, .slots_per_stream_max = 2, .window_bytes = 2 << 20};
  const RealClock clock_;
  const std::unique_ptr<Backend> backend_ = MakeCpuBackend();
  PlanCache plans_{limits_};
  SpoolBudget spool_budget_{{.directory = ::testing::TempDir(),
                             .bytes_max = limits_.spool_bytes_max,
                             .bytes_per_stream_max = limits_.spool_bytes_per_stream_max,
                             .memory_bytes_max = 4096}};
  UploadStore uploads_{limits_, clock_, "here", 7};
  CreditBudget credit_budget_{limits_.windows_bytes_max};
  LoadBudget load_budget_{limits_, 2};
  const std::shared_ptr<SlotArena> arena_ =
      SlotArena::Create(limits_.slot_bytes, limits_.slots_max, [this](std::function<void()> work) {
        pool_->SubmitFirst(std::move(work));
      }).value();
  std::optional<ComputePool> pool_{std::in_place, 2};
};

TEST_F(SessionStress, AllStreamsComeToTheirEnd) {
  std::vector<std::unique_ptr<ThreadedIo>> ios;
  RunStreams([](uint32_t) { return SIZE_MAX; }, ios);
  for (const auto& io : ios) {
    EXPECT_TRUE(io->status().ok()) << io->status();
    EXPECT_EQ(io->summaries(), kTensors);
  }
  while (uploads_.DropOne()) {
  }
  EXPECT_EQ(spool_budget_.bytes_reserved(), 0u);
}

TEST_F(SessionStress, StreamsThatAreGivenUpHoldUpNobody) {
  std::vector<std::unique_ptr<ThreadedIo>> ios;
  RunStreams([](uint32_t i) { return i % 2 == 0 ? SIZE_MAX : size_t{i / 2}; }, ios);
  for (uint32_t i = 0; i < kStreams; i += 2) EXPECT_TRUE(ios[i]->status().ok()) << ios[i]->status();
  for (uint32_t i = 1; i < kStreams; i += 2) EXPECT_TRUE(absl::IsCancelled(ios[i]->status())) << ios[i]->status();
}

// Two principals on one thread that is never idle: the shares are those of the weights, not those of the streams.
class FairShares : public ::testing::Test {
 protected:
  static constexpr uint64_t kTensorBytes = 1 << 20;
  static constexpr uint64_t kTensorsToMeasure = 400;
  static constexpr uint64_t kTensorsToWarmUp = 40;

  SessionEnvironment EnvironmentOf(const Principal& principal) {
    return {.direction = Direction::kQuantize,
            .limits = limits_,
            .backend = *backend_,
            .arena = *arena_,
            .plans = plans_,
            .spool_budget = spool_budget_,
            .credit_budget = credit_budget_,
            .load_budget = load_budget_,
            .clock = clock_,
            .submit =
                [this](const Turn& turn, const std::function<void()>& work) {
                  pool_->Submit(turn, [this, turn, work] {
                    work();
                    Count(turn);
                  });
                },
            .principal = principal};
  }
  void Count(const Turn& turn) {
    absl::MutexLock lock(&mutex_);
    bytes_ += turn.bytes;
    if (bytes_ <= kTensorsToWarmUp * kTensorBytes || over_.load()) return;
    bytes_of_[turn.principal.name] += static_cast<double>(turn.bytes);
    if (bytes_ >= kTensorsToMeasure * kTensorBytes) over_ = true;
  }
  // Tensors without end.
  static std::deque<RequestFrame> Tensors() {
    const TensorRequest request = Request(DataType::kFloat32, {kTensorBytes / sizeof(float)});
    const auto tensor = testing::Frames(1, testing::QuantizeInput(request, Bytes(kTensorBytes)), 512 << 10);
    std::deque<RequestFrame> frames;
    for (uint64_t seq = 1; seq <= kTensorsToMeasure; ++seq) {
      for (RequestFrame frame : tensor) {
        frame.tensor_seq = seq;
        frames.push_back(std::move(frame));
      }
    }
    return frames;
  }
  void RunStreams(const std::vector<Principal>& streams) {
    std::vector<std::unique_ptr<ThreadedIo>> ios;
    std::vector<std::thread> threads;
    for (const Principal& principal : streams) {
      ThreadedIo& io = *ios.emplace_back(std::make_unique<ThreadedIo>(Tensors()));
      threads.emplace_back([this, &io, &principal] {
        io.Run(*std::make_shared<StreamSession>(EnvironmentOf(principal), io), [this](size_t) { return over_.load(); });
      });
    }
    for (std::thread& thread : threads) thread.join();
    arena_->Close();
    pool_.reset();
  }

  const Limits limits_{.slot_bytes = 2 << 20, .slots_max = 16, .slots_per_stream_max = 8};
  const RealClock clock_;
  const std::unique_ptr<Backend> backend_ = MakeCpuBackend("scalar").value();  // slower than what feeds it
  PlanCache plans_{limits_};
  SpoolBudget spool_budget_{{.directory = ::testing::TempDir()}};
  CreditBudget credit_budget_{limits_.windows_bytes_max};
  LoadBudget load_budget_{limits_, 1};
  const std::shared_ptr<SlotArena> arena_ =
      SlotArena::Create(
          limits_.slot_bytes, limits_.slots_max,
          [this](std::function<void()> work) { pool_->SubmitFirst(std::move(work)); }, SlotsPerPrincipalMax(limits_))
          .value();
  std::optional<ComputePool> pool_{std::in_place, 1};
  absl::Mutex mutex_;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, double> bytes_of_;
  std::atomic<bool> over_ = false;
};

TEST_F(FairShares, WeightsOneToThreeShareWithinTenPercentWhateverTheNumberOfStreams) {
  const Principal ann{"ann", 1};
  const Principal bob{"bob", 3};
  RunStreams({ann, ann, ann, ann, ann, ann, bob, bob});
  EXPECT_NEAR(bytes_of_["bob"] / bytes_of_["ann"], 3, 0.3);
}

}  // namespace
}  // namespace quantd::server
