// The answers of the two unary methods.
#pragma once

#include "quantd/v1/quantization_service.pb.h"
#include "server/rpc/quantization_service.h"
#include "server/session/principal.h"

namespace quantd::server {

// Every preset, as the planner has them.
v1::ListSchemesResponse DescribeSchemes();

// `devices`: beside the CPU; null without any.
v1::GetServerInfoResponse DescribeServer(const ServiceOptions& options, const Backend& backend,
                                         const DevicePool* devices, const Principal& caller, uint64_t parked_bytes);

}  // namespace quantd::server
