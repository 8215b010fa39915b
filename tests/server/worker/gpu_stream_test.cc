// Tensors through the whole service, with a process of fake_gpu_worker behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "server/worker/gpu_pool.h"
#include "tests/support/bulk_stream.h"
#include "tests/support/test_service.h"
#include "tests/support/worker_harness.h"

namespace quantd::testing {
namespace {

using server::GpuPool;
using server::GpuWorker;
using ::testing::AnyOf;

constexpr uint64_t kRows = 2048;
constexpr uint64_t kColumns = 1024;

// The service with workers whose processes have the faults, one list for each.
class GpuService {
 public:
  explicit GpuService(std::vector<std::vector<std::string>> faults) {
    TestServiceOptions options;
    options.make_devices = [this, faults = std::move(faults)](const server::SlotArena& arena) {
      std::vector<std::unique_ptr<GpuWorker>> workers;
      for (const auto& of_one : faults) {
        workers.push_back(std::make_unique<GpuWorker>(server::GpuWorkerOptions{.device = "GPU-fake"},
                                                      LaunchFakes(of_one), SharedSlotsOf(arena), clock_, logger_));
        workers_.push_back(workers.back().get());
      }
      return std::make_unique<GpuPool>(server::GpuPoolOptions{.min_batch_bytes = 64 << 10}, std::move(workers), clock_,
                                       logger_);
    };
    service_ = std::make_unique<TestService>(std::move(options));
    for (GpuWorker* worker : workers_) EXPECT_TRUE(worker->AwaitState(server::WorkerState::kServing, kPatience));
  }

  TensorOutcome Quantize(const std::string& preset, v1::DevicePolicy policy,
                         const std::map<std::string, std::string>& overrides = {}) {
    QuantizeStream stream(service_->InProcessChannel());
    v1::TensorHeader header = HeaderOf(preset, v1::DATA_TYPE_FLOAT32, {kRows, kColumns}, overrides);
    header.set_device_policy(policy);
    return stream.Exchange(header, {{"values", 0, Values()}});
  }
  v1::GetServerInfoResponse Info() {
    grpc::ClientContext context;
    v1::GetServerInfoResponse response;
    EXPECT_TRUE(
        v1::QuantizationService::NewStub(service_->InProcessChannel())->GetServerInfo(&context, {}, &response).ok());
    return response;
  }
  GpuWorker& worker() { return *workers_.front(); }

 private:
  static const std::string& Values() {
    static const std::string values = [] {
      auto random = MakeRandom(3);
      const Bytes bytes = BytesOf(RandomTensor(random, kRows * kColumns, 64));
      return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }();
    return values;
  }

  RealClock clock_;
  RecordingLogger logger_;
  std::vector<GpuWorker*> workers_;
  std::unique_ptr<TestService> service_;
};

TEST(GpuStream, HasTheBytesOfTheCpu) {
  GpuService service({{"none"}});
  const std::pair<const char*, std::map<std::string, std::string>> schemes[] = {
      {"bnb-nf4", {}},       {"bnb-nf4", {{"double_quant", "true"}}},
      {"ct-w4a16-asym", {}}, {"ct-nvfp4", {}},
      {"ct-fp8-block", {}},  {"ct-fp8", {}},
      {"mxfp4", {}},         {"ggml-q5_1", {}},
  };
  for (const auto& [preset, overrides] : schemes) {
    const TensorOutcome cpu = service.Quantize(preset, v1::DEVICE_POLICY_CPU, overrides);
    const TensorOutcome gpu = service.Quantize(preset, v1::DEVICE_POLICY_GPU, overrides);
    ASSERT_TRUE(cpu.summary.has_value()) << preset;
    ASSERT_TRUE(gpu.summary.has_value()) << preset << ": " << gpu.error->message();
    EXPECT_EQ(cpu.summary->device(), "cpu");
    EXPECT_EQ(gpu.summary->device(), "gpu") << preset;
    EXPECT_EQ(gpu.segments, cpu.segments) << preset;
    EXPECT_EQ(gpu.summary->amax(), cpu.summary->amax()) << preset;
  }
}

TEST(GpuStream, SharesLargeTensorsBetweenGpuAndCpu) {
  GpuService service({{"none"}});
  const TensorOutcome cpu = service.Quantize("bnb-nf4", v1::DEVICE_POLICY_CPU);
  const TensorOutcome outcome = service.Quantize("bnb-nf4", v1::DEVICE_POLICY_AUTO);
  ASSERT_TRUE(outcome.summary.has_value());
  EXPECT_THAT(outcome.summary->device(), AnyOf("gpu", "cpu+gpu"));
  EXPECT_EQ(outcome.segments, cpu.segments);
}

TEST(GpuStream, AClientDoesNotNoticeThatAGpuDies) {
  for (const std::string fault : {"crash:2", "sticky:2", "out-of-memory:2"}) {
    GpuService service({{fault}});
    const TensorOutcome cpu = service.Quantize("bnb-nf4", v1::DEVICE_POLICY_CPU);
    const TensorOutcome outcome = service.Quantize("bnb-nf4", v1::DEVICE_POLICY_AUTO);
    ASSERT_TRUE(outcome.summary.has_value()) << fault << ": " << outcome.error->message();
    EXPECT_EQ(outcome.segments, cpu.segments) << fault;
  }
}

TEST(GpuStream, AWorkerKilledFromOutsideIsReplayed) {
  GpuService service({{"none"}});
  const TensorOutcome cpu = service.Quantize("int8", v1::DEVICE_POLICY_CPU);
  std::thread killer([&] { kill(service.worker().pid(), SIGKILL); });
  const TensorOutcome outcome = service.Quantize("int8", v1::DEVICE_POLICY_AUTO);
  killer.join();
  ASSERT_TRUE(outcome.summary.has_value()) << outcome.error->message();
  EXPECT_EQ(outcome.segments, cpu.segments);
}

TEST(GpuStream, TwoGpusHaveTheBytesOfOne) {
  GpuService service({{"none"}, {"crash:3"}});
  const TensorOutcome cpu = service.Quantize("mxfp8-e4m3", v1::DEVICE_POLICY_CPU);
  const TensorOutcome outcome = service.Quantize("mxfp8-e4m3", v1::DEVICE_POLICY_AUTO);
  ASSERT_TRUE(outcome.summary.has_value());
  EXPECT_EQ(outcome.segments, cpu.segments);
}

TEST(GpuStream, TheServerListsItsGpus) {
  GpuService service({{"none"}});
  const v1::GetServerInfoResponse info = service.Info();
  EXPECT_THAT(info.devices(), ::testing::ElementsAre("cpu", "gpu"));
  ASSERT_EQ(info.gpus_size(), 1);
  EXPECT_EQ(info.gpus(0).name(), "GPU-fake");
  EXPECT_EQ(info.gpus(0).target(), "fake_90");
  EXPECT_EQ(info.gpus(0).state(), "serving");
}

}  // namespace
}  // namespace quantd::testing
