// From exact sums to the figures that a summary carries.
#pragma once

#include "kernels/backend/error_sums.h"
#include "server/session/frame.h"

namespace quantd::server {

ErrorMetrics ErrorMetricsOf(const ErrorSums& sums);

}  // namespace quantd::server
