// The worker's side of the socket, with this test as quantd.
#include "server/worker/worker_loop.h"

#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "absl/synchronization/notification.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/support/fake_device.h"
#include "tests/support/worker_harness.h"

namespace quantd::server {
namespace {

using testing::SlotBatch;

// Computes one thing at a time, the first of it only when the test says so, and remembers how many batches each was.
class PatientDevice final : public WorkerDevice {
 public:
  struct Seen {
    absl::Notification may_begin;  // the first batch
    absl::Notification has_begun;
    absl::Notification has_read;  // Trim, and so all that was sent before
    uint64_t together_bytes_max = UINT64_MAX;
    std::vector<size_t> together;
  };
  explicit PatientDevice(Seen& seen) : backend_(std::make_shared<PatientBackend>(seen)), seen_(seen) {}

  absl::StatusOr<uint32_t> Open(const StartMessage&, std::span<std::byte>) override { return 1; }
  uint64_t together_bytes_max() const override { return seen_.together_bytes_max; }
  std::shared_ptr<Backend> backend() override { return backend_; }
  void Trim() override { seen_.has_read.Notify(); }

 private:
  class PatientBackend final : public Backend {
   public:
    explicit PatientBackend(Seen& seen) : seen_(seen) {}
    std::string_view name() const override { return "patient"; }
    std::string_view target() const override { return "fake_90"; }
    absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                    const std::atomic<bool>& cancelled) override {
      return cpu_->Run(plan, batch, cancelled);
    }
    void RunTogether(std::span<BatchRun> runs) override {
      seen_.together.push_back(runs.size());
      if (seen_.together.size() == 1) {
        seen_.has_begun.Notify();
        seen_.may_begin.WaitForNotification();
      }
      Backend::RunTogether(runs);
    }

   private:
    Seen& seen_;
    const std::unique_ptr<Backend> cpu_ = MakeCpuBackend();
  };

  const std::shared_ptr<Backend> backend_;
  Seen& seen_;
};

class WorkerLoop : public ::testing::Test {
 protected:
  ~WorkerLoop() override { End().IgnoreError(); }

  void Serve(const std::string& fault = "none") {
    ServeOn(testing::MakeFakeDevice(testing::ParseFault(fault).value()));
  }
  void ServeOn(std::unique_ptr<WorkerDevice> device) {
    auto ends = MessageSocket::MakePair();
    ASSERT_TRUE(ends.ok());
    socket_.emplace(std::move(ends->first));
    thread_ = std::thread(
        [this](MessageSocket socket, std::unique_ptr<WorkerDevice> on) { ended_ = ServeDevice(socket, std::move(on)); },
        std::move(ends->second), std::move(device));
  }
  // How ServeDevice ended, the socket being closed.
  absl::Status End() {
    socket_.reset();
    if (thread_.joinable()) thread_.join();
    return ended_;
  }

  StartMessage Start() const {
    const SharedSlots slots = testing::SharedSlotsOf(*harness_.arena);
    return {slots.memory.slot_bytes, slots.memory.slots, 2, 1 << 30, "GPU-fake"};
  }
  void SendStart() { ASSERT_TRUE(socket_->SendNow(Start(), harness_.arena->descriptor()).ok()); }
  void Send(WorkerMessage message) { ASSERT_TRUE(socket_->SendNow(std::move(message)).ok()); }
  template <class Message>
  Message Receive() {
    auto received = socket_->Receive();
    EXPECT_TRUE(received.ok()) << received.status();
    if (!received.ok() || !std::holds_alternative<Message>(received->message)) {
      ADD_FAILURE() << "another message came";
      return {};
    }
    return std::get<Message>(std::move(received->message));
  }
  void ServeUntilReady(const std::string& fault = "none") {
    Serve(fault);
    SendStart();
    EXPECT_EQ(Receive<ReadyMessage>().target, "fake_90");
  }
  void OpenPlan(const Plan& plan, uint32_t plan_slot = 3) {
    Send(OpenPlanMessage{.plan_slot = plan_slot,
                         .scheme = FullyResolved(plan.scheme),
                         .direction = plan.direction,
                         .values_dtype = plan.values_dtype,
                         .shape = plan.shape});
  }
  RunMessage RunOf(const SlotBatch& batch, uint64_t id, uint32_t plan_slot = 3) {
    auto message = ToMessage(batch.plan, batch.units, testing::SharedSlotsOf(*harness_.arena).memory);
    EXPECT_TRUE(message.ok()) << message.status();
    message->id = id;
    message->plan_slot = plan_slot;
    return *std::move(message);
  }

  testing::WorkerHarness harness_;
  std::optional<MessageSocket> socket_;
  std::thread thread_;
  absl::Status ended_;
};

TEST_F(WorkerLoop, ComputesInTheSlots) {
  ServeUntilReady();
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  Send(RunOf(batch, 42));
  const auto result = Receive<ResultMessage>();
  EXPECT_EQ(result.id, 42u);
  EXPECT_EQ(result.code, absl::StatusCode::kOk) << result.message;
  EXPECT_GT(result.result.range.amax, 0);
  EXPECT_EQ(batch.Outputs(), batch.Expected());
  EXPECT_TRUE(End().ok());
}

TEST_F(WorkerLoop, EndsAfterShutdown) {
  ServeUntilReady();
  Send(ShutdownMessage{});
  thread_.join();
  EXPECT_TRUE(ended_.ok());
}

TEST_F(WorkerLoop, SaysThatADeviceComputesWrongBytes) {
  Serve("wrong");
  SendStart();
  EXPECT_NE(Receive<FailedMessage>().message.find("computes wrong bytes"), std::string::npos);
  EXPECT_FALSE(End().ok());
}

TEST_F(WorkerLoop, SaysWhyADeviceCannotBeOpened) {
  Serve("no-memory");
  SendStart();
  EXPECT_EQ(Receive<FailedMessage>().code, absl::StatusCode::kResourceExhausted);
}

TEST_F(WorkerLoop, AnswersAProbe) {
  ServeUntilReady("wrong-after:1");
  Send(ProbeMessage{1});
  EXPECT_EQ(Receive<ResultMessage>().code, absl::StatusCode::kOk);
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  Send(RunOf(batch, 2));
  EXPECT_EQ(Receive<ResultMessage>().id, 2u);
  Send(ProbeMessage{3});
  EXPECT_EQ(Receive<ResultMessage>().code, absl::StatusCode::kInternal);
}

TEST_F(WorkerLoop, ReportsAFailedDevice) {
  ServeUntilReady("sticky");
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  Send(RunOf(batch, 1));
  EXPECT_EQ(Receive<ResultMessage>().code, absl::StatusCode::kInternal);
}

TEST_F(WorkerLoop, TrimsAndTriesOnceMoreWhereMemoryIsShort) {
  ServeUntilReady("tight-memory");
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  Send(RunOf(batch, 1));
  EXPECT_EQ(Receive<ResultMessage>().code, absl::StatusCode::kOk);
  EXPECT_EQ(batch.Outputs(), batch.Expected());
}

TEST_F(WorkerLoop, SaysThatMemoryIsShortEvenAfterATrim) {
  ServeUntilReady("out-of-memory");
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  Send(RunOf(batch, 1));
  EXPECT_EQ(Receive<ResultMessage>().code, absl::StatusCode::kResourceExhausted);
}

class WaitingBatches : public WorkerLoop {
 protected:
  // One batch is under way, and four more are sent meanwhile, each as large as `rows` says; then all are answered.
  std::vector<size_t> TogetherOf(const std::vector<uint64_t>& rows) {
    ServeOn(std::make_unique<PatientDevice>(seen_));
    SendStart();
    Receive<ReadyMessage>();
    const SlotBatch first(*harness_.arena);
    OpenPlan(first.plan, 0);
    Send(RunOf(first, 1, 0));
    seen_.has_begun.WaitForNotification();
    std::deque<SlotBatch> others;
    for (uint32_t i = 0; i < rows.size(); ++i) {
      others.emplace_back(*harness_.arena, SchemeRequest{"bnb-nf4"}, rows[i]);
      OpenPlan(others.back().plan, i + 1);
      Send(RunOf(others.back(), i + 2, i + 1));
    }
    Send(TrimMessage{});
    seen_.has_read.WaitForNotification();
    seen_.may_begin.Notify();
    for (size_t i = 0; i <= rows.size(); ++i) EXPECT_EQ(Receive<ResultMessage>().code, absl::StatusCode::kOk);
    for (const SlotBatch& batch : others) EXPECT_EQ(batch.Outputs(), batch.Expected());
    EXPECT_TRUE(End().ok());
    return seen_.together;
  }

  PatientDevice::Seen seen_;
};

TEST_F(WaitingBatches, AreComputedTogether) {
  EXPECT_EQ(TogetherOf({SlotBatch::kRows, SlotBatch::kRows, 2 * SlotBatch::kRows, SlotBatch::kRows}),
            (std::vector<size_t>{1, 4}));
}

TEST_F(WaitingBatches, ThatAreSmallAreComputedTogether) {
  EXPECT_EQ(TogetherOf(std::vector<uint64_t>(4, SlotBatch::kRowsOfSmall)), (std::vector<size_t>{1, 4}));
}

TEST_F(WaitingBatches, ThatAreSmallWaitForNoLargeOnes) {
  EXPECT_EQ(TogetherOf({SlotBatch::kRowsOfSmall, SlotBatch::kRowsOfSmall, SlotBatch::kRows, SlotBatch::kRows}),
            (std::vector<size_t>{1, 2, 2}));
}

TEST_F(WaitingBatches, AreNoMoreBytesThanTheDeviceTakesTogether) {
  // A batch of the usual size is 128 KiB of values and 18 KiB of codes and scales.
  seen_.together_bytes_max = 2 * (146 << 10);
  EXPECT_EQ(TogetherOf(std::vector<uint64_t>(4, SlotBatch::kRows)), (std::vector<size_t>{1, 2, 2}));
}

TEST_F(WaitingBatches, OfManyValuesAreComputedAlone) {
  EXPECT_EQ(TogetherOf({SlotBatch::kRows, 4 * SlotBatch::kRows, SlotBatch::kRows, SlotBatch::kRows}),
            (std::vector<size_t>{1, 1, 1, 2}));
}

TEST_F(WaitingBatches, LargerThanThatAreComputedAlone) {
  seen_.together_bytes_max = 1;
  EXPECT_EQ(TogetherOf(std::vector<uint64_t>(4, SlotBatch::kRows)), (std::vector<size_t>{1, 1, 1, 1, 1}));
}

TEST_F(WorkerLoop, StopsARunThatIsCancelled) {
  ServeUntilReady("slow-to-cancel");
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  Send(RunOf(batch, 1));
  Send(CancelMessage{1});
  Send(CancelMessage{99});  // of nothing: it may have been answered meanwhile
  EXPECT_EQ(Receive<ResultMessage>().code, absl::StatusCode::kCancelled);
}

TEST_F(WorkerLoop, StopsItsRunsWhenQuantdIsGone) {
  ServeUntilReady("slow-to-cancel");
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  Send(RunOf(batch, 1));
  EXPECT_TRUE(End().ok());
}

TEST_F(WorkerLoop, EndsAtEverythingThatIsNotInOrder) {
  const SlotBatch batch(*harness_.arena);
  const auto outside = [&] {
    RunMessage run = RunOf(batch, 1);
    run.outputs[0] = harness_.arena->slot_bytes() * 32 - 1;
    return run;
  };
  OpenPlanMessage no_plan{.plan_slot = 3, .scheme = {"no-such-preset", {}, 0}, .values_dtype = DataType::kFloat32};
  OpenPlanMessage no_slot{.plan_slot = kWorkerPlanSlots};
  for (const WorkerMessage& wrong :
       std::vector<WorkerMessage>{outside(), no_plan, no_slot, RunMessage{.plan_slot = 5},
                                  RunMessage{.plan_slot = UINT32_MAX}, Start(), ReadyMessage{}, ResultMessage{}}) {
    ServeUntilReady();
    OpenPlan(batch.plan);
    Send(wrong);
    thread_.join();
    EXPECT_FALSE(ended_.ok()) << wrong.index();
    socket_.reset();
  }
}

TEST_F(WorkerLoop, TakesNoMoreRunsAtOnceThanWereAgreedOn) {
  ServeUntilReady("slow-to-cancel");
  const SlotBatch batch(*harness_.arena);
  OpenPlan(batch.plan);
  constexpr uint64_t kJobsMax = 2 * (kWorkerBatchesPerUnit + 1);  // probes included
  for (uint64_t id = 1; id <= kJobsMax + 1; ++id) Send(RunOf(batch, id));
  thread_.join();
  EXPECT_EQ(ended_.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(WorkerLoop, RefusesSlotsThatAreNotAsLongAsTheySay) {
  for (const auto& change :
       std::vector<void (*)(StartMessage&)>{[](StartMessage& s) { s.slots += 1; }, [](StartMessage& s) { s.slots = 0; },
                                            [](StartMessage& s) { s.slot_bytes = UINT64_MAX; }}) {
    Serve();
    StartMessage start = Start();
    change(start);
    ASSERT_TRUE(socket_->SendNow(start, harness_.arena->descriptor()).ok());
    EXPECT_EQ(End().code(), absl::StatusCode::kInvalidArgument);
  }
  Serve();
  Send(Start());  // without a descriptor
  EXPECT_EQ(End().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(WorkerLoop, RefusesUnitsInFlightOutOfRange) {
  for (const uint32_t units : {0u, kWorkerUnitsInFlightMax + 1}) {
    Serve();
    StartMessage start = Start();
    start.units_in_flight = units;
    ASSERT_TRUE(socket_->SendNow(start, harness_.arena->descriptor()).ok());
    EXPECT_EQ(Receive<FailedMessage>().code, absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(End().ok());
  }
}

}  // namespace
}  // namespace quantd::server
