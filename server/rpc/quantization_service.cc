#include "server/rpc/quantization_service.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "grpcpp/server_context.h"
#include "kernels/base/error.h"
#include "kernels/base/status_macros.h"
#include "kernels/calibrate/count_kernels.h"
#include "proto/codec/frame_codec.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "server/calibration/calibration_errors.h"
#include "server/calibration/calibration_job.h"
#include "server/calibration/calibration_preparation.h"
#include "server/calibration/calibration_store.h"
#include "server/rpc/bulk_reactor.h"
#include "server/rpc/calibration_methods.h"
#include "server/rpc/calibration_streams.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/server_info.h"
#include "server/rpc/stall_guard.h"
#include "server/session/admission.h"
#include "server/session/compute_pool.h"
#include "server/session/credit_budget.h"
#include "server/session/device_pool.h"
#include "server/session/load_budget.h"
#include "server/session/slot_arena.h"
#include "server/session/spool.h"
#include "server/session/tensor_job.h"
#include "server/session/tensor_plan.h"
#include "server/session/upload_store.h"

namespace quantd::server {
namespace {

// Beyond which a deadline is none: gRPC has no other sign for it.
constexpr absl::Duration kDeadlineMax = absl::Hours(24 * 365);

// Of an answer about a calibration, beside the bytes of values that others wait for.
constexpr uint64_t kAnswerCost = 1 << 20;

// Bulk methods take and give raw bytes, the others messages.
using QS = v1::QuantizationService;
using BulkMethods = QS::WithRawCallbackMethod_Quantize<
    QS::WithRawCallbackMethod_Dequantize<QS::WithRawCallbackMethod_Calibrate<QS::Service>>>;
using CalibrationCalls = QS::WithCallbackMethod_GetCalibration<QS::WithCallbackMethod_SealCalibration<
    QS::WithCallbackMethod_ListCalibrations<QS::WithCallbackMethod_DeleteCalibration<
        QS::WithCallbackMethod_ExportCalibration<QS::WithCallbackMethod_ImportCalibration<BulkMethods>>>>>>;
using GrpcService = QS::WithCallbackMethod_ListSchemes<QS::WithCallbackMethod_GetServerInfo<CalibrationCalls>>;

enum class BulkMethod : uint8_t { kQuantize, kDequantize, kCalibrate };

const char* NameOf(BulkMethod method) {
  switch (method) {
    case BulkMethod::kQuantize:
      return "Quantize";
    case BulkMethod::kDequantize:
      return "Dequantize";
    case BulkMethod::kCalibrate:
      return "Calibrate";
  }
  return "";
}

// The loops of the backend's own instruction set, so that cpu_target counts for both.
const CountKernels& CountKernelsFor(const Backend& backend) {
  for (const CountKernels* kernels : SupportedCountKernels()) {
    if (kernels->target == backend.target()) return *kernels;
  }
  return BestCountKernels();
}

Principal PrincipalOf(const grpc::CallbackServerContext& rpc, const std::map<std::string, uint32_t>& weights) {
  Principal principal;
  if (const auto auth = rpc.auth_context(); auth != nullptr) {
    const auto values = auth->FindPropertyValues(std::string(kPrincipalProperty));
    if (!values.empty()) principal.name.assign(values.front().data(), values.front().size());
  }
  if (const auto weight = weights.find(principal.name); weight != weights.end()) principal.weight = weight->second;
  return principal;
}

// As a time of `clock`, whatever day that has.
absl::Time DeadlineOf(const grpc::CallbackServerContext& rpc, const Clock& clock) {
  const absl::Time deadline = absl::FromChrono(rpc.deadline());
  const absl::Duration left = deadline - absl::FromChrono(std::chrono::system_clock::now());
  return left > kDeadlineMax ? absl::InfiniteFuture() : clock.Now() + left;
}

class OpenSessions final : public SessionRegistry {
 public:
  void Add(std::shared_ptr<StreamSession> session) override {
    bool draining = false;
    {
      absl::MutexLock lock(&mutex_);
      sessions_.insert(session);
      draining = draining_;
    }
    if (draining) session->BeginDrain();  // was admitted just before
  }
  void Remove(const std::shared_ptr<StreamSession>& session) override {
    absl::MutexLock lock(&mutex_);
    sessions_.erase(session);
  }
  std::vector<std::shared_ptr<StreamSession>> Snapshot() const {
    absl::MutexLock lock(&mutex_);
    return {sessions_.begin(), sessions_.end()};
  }
  // Those that are added later drain too.
  void BeginDrain() {
    {
      absl::MutexLock lock(&mutex_);
      draining_ = true;
    }
    for (const auto& session : Snapshot()) session->BeginDrain();
  }

 private:
  mutable absl::Mutex mutex_;
  std::set<std::shared_ptr<StreamSession>> sessions_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

// Looks at all streams several times in every stall_max, and at what has expired.
class StallWatch {
 public:
  StallWatch(const OpenSessions& sessions, StallGuard& guard, CalibrationStore& calibrations, UploadStore& uploads,
             absl::Duration stall_max)
      : guard_(guard),
        calibrations_(calibrations),
        uploads_(uploads),
        period_(std::clamp(stall_max / 4, absl::Milliseconds(5), absl::Seconds(1))),
        thread_([this, &sessions] { Watch(sessions); }) {}
  ~StallWatch() {
    ending_.Notify();
    thread_.join();
  }

 private:
  void Watch(const OpenSessions& sessions) {
    while (!ending_.WaitForNotificationWithTimeout(period_)) {
      calibrations_.DropExpired();
      uploads_.DropExpired();
      for (const auto& session : sessions.Snapshot()) session->CheckStall();
      guard_.CancelStalled();
    }
  }

  StallGuard& guard_;
  CalibrationStore& calibrations_;
  UploadStore& uploads_;
  const absl::Duration period_;
  absl::Notification ending_;
  std::thread thread_;
};

class Service final : public QuantizationService, private GrpcService {
 public:
  Service(const ServiceOptions& options, Backend& backend, const Clock& clock, RpcLog& log)
      : options_(options),
        accept_constants_{wire::kFrameDataBytesMax, options.server_instance, options.epoch},
        backend_(backend),
        clock_(clock),
        log_(log),
        admission_(options_.limits),
        calibrations_(options_.calibration_limits, clock),
        calibration_methods_(calibrations_, Identity()),
        count_kernels_(CountKernelsFor(backend)),
        plans_(options_.limits),
        spool_budget_({.directory = options.spool_directory,
                       .bytes_max = options.limits.spool_bytes_max,
                       .bytes_per_stream_max = options.limits.spool_bytes_per_stream_max}),
        uploads_(options_.limits, clock, options.server_instance, options.epoch),
        credit_budget_(options.limits.windows_bytes_max),
        load_budget_(options_.limits, options.compute_threads),
        stall_guard_(options.limits.stall_max, clock),
        compute_pool_(options.compute_threads),
        stall_watch_(open_sessions_, stall_guard_, calibrations_, uploads_, options.limits.stall_max) {}

  // Slots that gRPC still holds keep the arena, but must not look for somebody who waits.
  ~Service() override {
    if (arena_ != nullptr) arena_->Close();
  }

  absl::Status MakeSlots() {
    const auto soon = [this](std::function<void()> work) { compute_pool_.SubmitFirst(std::move(work)); };
    QUANTD_ASSIGN_OR_RETURN(arena_, SlotArena::Create(options_.limits.slot_bytes, options_.limits.slots_max, soon,
                                                      SlotsPerPrincipalMax(options_.limits)));
    return absl::OkStatus();
  }

  absl::Status MakeDevices() {
    if (options_.make_devices == nullptr) return absl::OkStatus();
    QUANTD_ASSIGN_OR_RETURN(devices_, options_.make_devices(*arena_));
    return absl::OkStatus();
  }

  grpc::Service* service() override { return this; }

  void BeginDrain() override {
    admission_.BeginDrain();
    open_sessions_.BeginDrain();
  }

  void HandBack() override {
    for (const auto& session : open_sessions_.Snapshot()) session->HandBack();
  }

  uint32_t open_streams() const override { return admission_.streams(); }

 private:
  using BidiReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

  BidiReactor* Quantize(grpc::CallbackServerContext* rpc) override { return Open(*rpc, BulkMethod::kQuantize); }
  BidiReactor* Dequantize(grpc::CallbackServerContext* rpc) override { return Open(*rpc, BulkMethod::kDequantize); }
  BidiReactor* Calibrate(grpc::CallbackServerContext* rpc) override { return Open(*rpc, BulkMethod::kCalibrate); }

  BidiReactor* Open(grpc::CallbackServerContext& rpc, BulkMethod method) {
    Principal principal = PrincipalOf(rpc, options_.principal_weights);
    auto ticket = admission_.Enter(principal);
    if (!ticket.ok()) {
      log_.Record({.method = NameOf(method),
                   .peer = rpc.peer(),
                   .principal = principal.name,
                   .status = ticket.status(),
                   .reason = DetailsOf(ticket.status()).reason});
      const bool passes = absl::IsUnavailable(ticket.status());
      rpc.AddTrailingMetadata(kRetryPushbackKey, passes ? std::to_string(RetryDelayMsOf(ticket.status())) : "-1");
      return new RefusedReactor(ticket.status());
    }
    const SessionEnvironment environment{
        method == BulkMethod::kDequantize ? Direction::kDequantize : Direction::kQuantize,
        options_.limits,
        backend_,
        *arena_,
        plans_,
        spool_budget_,
        credit_budget_,
        load_budget_,
        clock_,
        [this](const Turn& turn, std::function<void()> work) { compute_pool_.Submit(turn, std::move(work)); },
        [this](const std::function<void()>& work) { return compute_pool_.TryRunHere(work); },
        devices_.get(),
        [this, method, principal](const TensorRequest& request) { return StartJob(method, principal, request); },
        principal,
        DeadlineOf(rpc, clock_),
        &uploads_};
    return new BulkReactor({NameOf(method), rpc, accept_constants_, clock_, log_, open_sessions_}, environment,
                           std::move(principal), *std::move(ticket));
  }

  absl::StatusOr<std::unique_ptr<StreamJob>> StartJob(BulkMethod method, const Principal& principal,
                                                      const TensorRequest& request) {
    if (method == BulkMethod::kCalibrate) {
      return CalibrationJob::Start(request, principal, calibrations_, count_kernels_, options_.limits, clock_);
    }
    if (request.contribution.has_value()) return OnlyFor("contribution", "Calibrate");
    if (method == BulkMethod::kDequantize) {
      if (request.calibration.has_value()) return OnlyFor("calibration", "Quantize");
      return TensorJob::Start(request, Direction::kDequantize, Resources());
    }
    QUANTD_ASSIGN_OR_RETURN(CalibratedRequest calibrated, PrepareCalibrated(request, principal, calibrations_));
    return TensorJob::Start(calibrated.request, Direction::kQuantize, Resources(), {&uploads_, principal},
                            std::move(calibrated.preparation));
  }
  JobResources Resources() { return {options_.limits, plans_, spool_budget_, clock_}; }

  static absl::Status OnlyFor(const std::string& field, const std::string& method) {
    return InvalidCalibration("the header's " + field + " is for " + method + ". Leave it out.");
  }

  ServerIdentity Identity() const { return {options_.server_instance, options_.epoch}; }

  // Results can take a while: they are computed where everything is, and not on the transport's threads.
  template <class Request, class Response>
  grpc::ServerUnaryReactor* OnComputePool(grpc::CallbackServerContext& rpc, const char* method, const Request* request,
                                          Response* response,
                                          absl::StatusOr<Response> (CalibrationMethods::*call)(const Principal&,
                                                                                               const Request&) const) {
    grpc::ServerUnaryReactor* reactor = rpc.DefaultReactor();
    const Principal principal = PrincipalOf(rpc, options_.principal_weights);
    const Turn turn{principal, Priority::kNormal, kAnswerCost};
    compute_pool_.Submit(turn, [this, &rpc, principal, method, request, response, call, reactor] {
      absl::StatusOr<Response> result = (calibration_methods_.*call)(principal, *request);
      const absl::Status status = result.status();
      if (status.ok()) *response = *std::move(result);
      log_.Record({.method = method,
                   .peer = rpc.peer(),
                   .principal = principal.name,
                   .status = status,
                   .reason = DetailsOf(status).reason});
      reactor->Finish(ToGrpcStatus(status));
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetCalibration(grpc::CallbackServerContext* rpc, const v1::GetCalibrationRequest* request,
                                           v1::GetCalibrationResponse* response) override {
    return OnComputePool(*rpc, "GetCalibration", request, response, &CalibrationMethods::Get);
  }
  grpc::ServerUnaryReactor* SealCalibration(grpc::CallbackServerContext* rpc, const v1::SealCalibrationRequest* request,
                                            v1::SealCalibrationResponse* response) override {
    return OnComputePool(*rpc, "SealCalibration", request, response, &CalibrationMethods::Seal);
  }
  grpc::ServerUnaryReactor* ListCalibrations(grpc::CallbackServerContext* rpc,
                                             const v1::ListCalibrationsRequest* request,
                                             v1::ListCalibrationsResponse* response) override {
    return OnComputePool(*rpc, "ListCalibrations", request, response, &CalibrationMethods::List);
  }
  grpc::ServerUnaryReactor* DeleteCalibration(grpc::CallbackServerContext* rpc,
                                              const v1::DeleteCalibrationRequest* request,
                                              v1::DeleteCalibrationResponse* response) override {
    return OnComputePool(*rpc, "DeleteCalibration", request, response, &CalibrationMethods::Delete);
  }
  grpc::ServerWriteReactor<v1::ExportCalibrationResponse>* ExportCalibration(
      grpc::CallbackServerContext* rpc, const v1::ExportCalibrationRequest* request) override {
    return MakeExportReactor(Stream(*rpc), request->session_id());
  }
  grpc::ServerReadReactor<v1::ImportCalibrationRequest>* ImportCalibration(
      grpc::CallbackServerContext* rpc, v1::ImportCalibrationResponse* response) override {
    return MakeImportReactor(Stream(*rpc), options_.limits.name_bytes_max,
                             options_.calibration_limits.session_bytes_max, *response);
  }

  CalibrationStream Stream(grpc::CallbackServerContext& rpc) {
    const Principal principal = PrincipalOf(rpc, options_.principal_weights);
    return {rpc, principal, admission_.Enter(principal), calibrations_, stall_guard_, Identity(), clock_, log_};
  }

  grpc::ServerUnaryReactor* ListSchemes(grpc::CallbackServerContext* rpc, const v1::ListSchemesRequest*,
                                        v1::ListSchemesResponse* response) override {
    *response = DescribeSchemes();
    return Answer(*rpc, "ListSchemes");
  }

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* rpc, const v1::GetServerInfoRequest*,
                                          v1::GetServerInfoResponse* response) override {
    *response = DescribeServer(options_, backend_, devices_.get(), PrincipalOf(*rpc, options_.principal_weights),
                               uploads_.parked_bytes());
    return Answer(*rpc, "GetServerInfo");
  }

  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext& rpc, const char* method) {
    log_.Record({.method = method, .peer = rpc.peer(), .principal = PrincipalOf(rpc, options_.principal_weights).name});
    grpc::ServerUnaryReactor* reactor = rpc.DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  const ServiceOptions options_;
  const AcceptConstants accept_constants_;
  Backend& backend_;
  const Clock& clock_;
  RpcLog& log_;
  Admission admission_;
  CalibrationStore calibrations_;
  const CalibrationMethods calibration_methods_;
  const CountKernels& count_kernels_;
  PlanCache plans_;
  SpoolBudget spool_budget_;
  UploadStore uploads_;  // its spools are the budget's
  CreditBudget credit_budget_;
  LoadBudget load_budget_;
  OpenSessions open_sessions_;
  StallGuard stall_guard_;
  std::shared_ptr<SlotArena> arena_;
  ComputePool compute_pool_;             // after all that its work uses
  std::unique_ptr<DevicePool> devices_;  // null without any; leaves work to the CPU's threads until its end
  StallWatch stall_watch_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<QuantizationService>> QuantizationService::Create(const ServiceOptions& options,
                                                                                 Backend& backend, const Clock& clock,
                                                                                 RpcLog& log) {
  QUANTD_RETURN_IF_ERROR(Validate(options.limits));
  if (absl::Status status = Validate(options.calibration_limits); !status.ok()) {
    return absl::InvalidArgumentError("calibration." + std::string(status.message()));
  }
  if (options.compute_threads == 0) return absl::InvalidArgumentError("compute_threads is 0; choose at least 1.");
  auto service = std::make_unique<Service>(options, backend, clock, log);
  QUANTD_RETURN_IF_ERROR(service->MakeSlots());
  QUANTD_RETURN_IF_ERROR(service->MakeDevices());
  return service;
}

}  // namespace quantd::server
