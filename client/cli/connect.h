// From an address, or none, to a client.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace quantd::cli {

// A client of the server at `address`, which is not connected to yet; if that is empty, of an embedded one that ends
// with the client. A usage error for an address that cannot be one.
absl::StatusOr<std::shared_ptr<Client>> Connect(const std::string& address);

}  // namespace quantd::cli
