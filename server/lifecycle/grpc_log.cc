#include "server/lifecycle/grpc_log.h"

#include <grpc/support/log.h>

#include <string>

#include "absl/base/const_init.h"
#include "absl/synchronization/mutex.h"

namespace quantd::server {
namespace {

// gRPC takes a plain function, so the logger has to be where a plain function finds it.
ABSL_CONST_INIT absl::Mutex redirect_mutex(absl::kConstInit);
Logger* redirect_target = nullptr;  // guarded by redirect_mutex

LogLevel LevelOf(gpr_log_severity severity) {
  // Much of what gRPC calls an error is a peer that misbehaves.
  return severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
}

void Redirect(gpr_log_func_args* arguments) {
  const absl::ReaderMutexLock lock(&redirect_mutex);
  if (redirect_target == nullptr) return;
  redirect_target->Write(LevelOf(arguments->severity), "grpc",
                         {{"text", std::string(arguments->message)},
                          {"file", std::string(arguments->file)},
                          {"line", static_cast<uint64_t>(arguments->line)}});
}

}  // namespace

GrpcLogRedirect::GrpcLogRedirect(Logger& logger) {
  {
    const absl::MutexLock lock(&redirect_mutex);
    redirect_target = &logger;
  }
  gpr_set_log_function(Redirect);
}

GrpcLogRedirect::~GrpcLogRedirect() {
  gpr_set_log_function(nullptr);
  const absl::MutexLock lock(&redirect_mutex);
  redirect_target = nullptr;
}

}  // namespace quantd::server
