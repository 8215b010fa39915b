#include "server/lifecycle/library_log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <string>
#include <utility>

#include "absl/base/const_init.h"
#include "absl/synchronization/mutex.h"

namespace quantd::server {
namespace {

// Both take a plain function, so the logger has to be where a plain function finds it.
ABSL_CONST_INIT absl::Mutex redirect_mutex(absl::kConstInit);
Logger* redirect_target = nullptr;  // guarded by redirect_mutex

LogLevel LevelOf(gpr_log_severity severity) {
  // Much of what gRPC calls an error is a peer that misbehaves.
  return severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
}

void Write(LogLevel level, const char* library, std::string text, const char* file, int line) {
  const absl::ReaderMutexLock lock(&redirect_mutex);
  if (redirect_target == nullptr) return;
  redirect_target->Write(
      level, library, {{"text", std::move(text)}, {"file", std::string(file)}, {"line", static_cast<uint64_t>(line)}});
}

void WriteOfGrpc(gpr_log_func_args* arguments) {
  Write(LevelOf(arguments->severity), "grpc", arguments->message, arguments->file, arguments->line);
}

// What protobuf calls an error is a client's message, for example one whose strings are not UTF-8.
void WriteOfProtobuf(google::protobuf::LogLevel /*level*/, const char* file, int line, const std::string& text) {
  Write(LogLevel::kDebug, "protobuf", text, file, line);
}

}  // namespace

LibraryLogRedirect::LibraryLogRedirect(Logger& logger) {
  {
    const absl::MutexLock lock(&redirect_mutex);
    redirect_target = &logger;
  }
  gpr_set_log_function(WriteOfGrpc);
  google::protobuf::SetLogHandler(WriteOfProtobuf);
}

LibraryLogRedirect::~LibraryLogRedirect() {
  google::protobuf::SetLogHandler(nullptr);
  gpr_set_log_function(nullptr);
  const absl::MutexLock lock(&redirect_mutex);
  redirect_target = nullptr;
}

}  // namespace quantd::server
