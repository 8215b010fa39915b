// The client's side of the echo.
#pragma once

#include <memory>
#include <string>

#include "client/cli/bench_peers.h"

namespace quantd::cli {

// Of the EchoServer at `address`, which has the same settings.
std::unique_ptr<EchoBaseline> MakeEchoClient(const std::string& address, const EchoSettings& settings);

}  // namespace quantd::cli
