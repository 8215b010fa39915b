// From the choice of a server to a client.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// A client of the server at its address, which is not connected to yet; without one, of an embedded server that ends
// with the client. A usage error for an address that cannot be one, and for a CPU target that this machine lacks.
absl::StatusOr<std::shared_ptr<Client>> Connect(const ServerChoice& server);

}  // namespace quantd::cli
