#include "client/cli/table.h"

#include <algorithm>

namespace quantd::cli {
namespace {

constexpr char kGap[] = "  ";

// Characters, not bytes: names are UTF-8.
size_t WidthOf(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string Table::ToString() const {
  std::vector<size_t> widths;
  widths.reserve(columns_.size());
  for (const Column& column : columns_) widths.push_back(WidthOf(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], WidthOf(row[i]));
  }
  std::string text;
  const auto append_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string cell = cell_of(i);
      const std::string blanks(widths[i] - WidthOf(cell), ' ');
      if (i > 0) line += kGap;
      line += columns_[i].align == Align::kLeft ? cell + blanks : blanks + cell;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  const auto append_rule = [&] { append_line([&](size_t i) { return std::string(widths[i], '-'); }); };
  append_line([&](size_t i) { return columns_[i].title; });
  append_rule();
  for (const auto& row : rows_) {
    if (row.empty()) {
      append_rule();
    } else {
      append_line([&](size_t i) { return row[i]; });
    }
  }
  return text;
}

}  // namespace quantd::cli
