// What compare found, as a table and as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/cli/compare.h"

namespace quantd::cli {

enum class ComparisonKind {
  kValues,        // statistics are of the values
  kBits,          // a type that is not interpreted: only elements and differing are set
  kShapeDiffers,  // not compared
  kDtypeDiffers,  // not compared: the types have no values in common
};

// A tensor that both files hold.
struct ComparedRow {
  std::string name;
  std::string first_dtype, second_dtype;
  std::vector<uint64_t> first_shape, second_shape;
  ComparisonKind kind{};
  ErrorStatistics statistics;

  bool compared() const { return kind == ComparisonKind::kValues || kind == ComparisonKind::kBits; }
};

struct ComparisonReport {
  std::string first_path, second_path;
  std::vector<ComparedRow> rows;
  std::vector<std::string> only_in_first, only_in_second;

  // The same names, shapes and comparable types.
  bool SameTensors() const;
  // And no element differs.
  bool SameElements() const;
  // Over all kValues rows of float types, as if they were one tensor.
  ErrorStatistics FloatTotals() const;
};

std::string FormatTable(const ComparisonReport& report);
std::string FormatJson(const ComparisonReport& report);

}  // namespace quantd::cli
