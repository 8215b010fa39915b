// Columns of text that line up.
#pragma once

#include <string>
#include <vector>

namespace quantd::cli {

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kRight;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell for every column.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // A line under the rows so far, in front of totals.
  void AddRule() { rows_.emplace_back(); }

  // Titles, a rule and the rows, every line ended; no blanks at the ends of lines.
  std::string ToString() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // empty: a rule
};

}  // namespace quantd::cli
