// The two macros of the project's error handling.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define QUANTD_CONCAT_INNER(a, b) a##b
#define QUANTD_CONCAT(a, b) QUANTD_CONCAT_INNER(a, b)

// Returns the status of `expression` from the enclosing function unless it is OK.
#define QUANTD_RETURN_IF_ERROR(expression)                                                    \
  do {                                                                                        \
    if (absl::Status quantd_status = (expression); !quantd_status.ok()) return quantd_status; \
  } while (false)

// Assigns the value of a StatusOr `expression` to `target` (which may declare a variable), or returns its status.
#define QUANTD_ASSIGN_OR_RETURN(target, expression) \
  QUANTD_ASSIGN_OR_RETURN_INNER(QUANTD_CONCAT(quantd_or_, __LINE__), target, expression)
#define QUANTD_ASSIGN_OR_RETURN_INNER(temporary, target, expression) \
  auto temporary = (expression);                                     \
  if (!temporary.ok()) return std::move(temporary).status();         \
  target = *std::move(temporary)
