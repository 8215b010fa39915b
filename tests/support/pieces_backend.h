// A backend that is given every batch in pieces, all of them together.
#pragma once

#include <memory>

#include "kernels/backend/backend.h"

namespace quantd::testing {

// Computes by RunTogether of `backend`: a batch is as many pieces as it has units, at most `pieces_max`.
std::unique_ptr<Backend> MakePiecesBackend(std::unique_ptr<Backend> backend, uint64_t pieces_max);

}  // namespace quantd::testing
