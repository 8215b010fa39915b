#include "client/cli/table.h"

#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

TEST(Table, LinesColumnsUp) {
  Table table({{"name", Table::Align::kLeft}, {"n", Table::Align::kRight}});
  table.AddRow({"größer", "1"});
  table.AddRow({"a", "100"});
  table.AddRule();
  table.AddRow({"sum", ""});
  EXPECT_EQ(table.ToString(),
            "name      n\n"
            "------  ---\n"
            "größer    1\n"
            "a       100\n"
            "------  ---\n"
            "sum\n");
}

}  // namespace
}  // namespace quantd::cli
