// The configuration file: TOML on the outside, quantd.config.v1.ServerConfig as its schema.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/config/server_config.h"

namespace quantd::server {

// `base` with what the TOML text says. INVALID_ARGUMENT with line and column for what is not TOML, and with the key's
// name for an unknown key or a value of the wrong type. Ranges are Validate's business.
absl::StatusOr<ServerConfig> ApplyToml(const std::string& text, ServerConfig base);

// Every value, as TOML that ApplyToml reads back to the same configuration.
std::string ToToml(const ServerConfig& config);

}  // namespace quantd::server
