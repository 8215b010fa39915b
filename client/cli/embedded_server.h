// A whole quantd inside this process, reached without a socket.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace grpc {
class Channel;
}

namespace quantd::cli {

class EmbeddedServer {
 public:
  // kLoopback: over a free TCP port of the loopback interface too.
  enum class Reach { kInProcess, kLoopback };
  // The server's defaults, but for the listeners; only its errors are logged, to standard error. Errors: those of
  // server::Application::Start, INVALID_ARGUMENT for a `cpu_target` that this machine lacks; empty: the fastest.
  static absl::StatusOr<std::unique_ptr<EmbeddedServer>> Start(const std::string& cpu_target,
                                                               Reach reach = Reach::kInProcess);
  // Waits for what is still open.
  virtual ~EmbeddedServer() = default;

  // Must not be used after this object's end.
  virtual std::shared_ptr<grpc::Channel> channel() = 0;
  // "127.0.0.1:PORT"; empty without one.
  virtual std::string address() const = 0;
};

}  // namespace quantd::cli
