// A scheme on backends beside the slow reference, there and back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend/backend.h"
#include "tests/support/reference_scheme.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {

inline constexpr DataType kFloatTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16};

using Backends = std::vector<std::unique_ptr<Backend>>;

// One on each of BackendNames().
Backends EveryTarget();

std::string Text(const SchemeRequest& request);

// Fails fatally unless every segment that each backend makes of `values`, and every value that it makes of those in
// each float type, are the reference's.
void ExpectEqualsReference(const Backends& backends, const SchemeRequest& request, DataType dtype,
                           const std::vector<uint64_t>& shape, const Bytes& values, uint64_t units_per_batch,
                           const ReferenceChannels& channels = {});

}  // namespace quantd::testing
