#include "server/conversion/printable.h"

#include <gtest/gtest.h>

namespace quantd::server {
namespace {

TEST(Printable, KeepsOrdinaryText) {
  EXPECT_EQ(Printable("model.layers.0.weight"), "model.layers.0.weight");
  EXPECT_EQ(Printable("größe"), "größe");
}

TEST(Printable, LetsNoControlCharacterThrough) {
  const std::string shown = Printable("a\x1b[31m\nb\x7f\xc2\x9b");
  for (const char c : shown) EXPECT_TRUE(c >= 0x20 && c != 0x7f) << static_cast<int>(c);
}

TEST(Printable, CutsInTheMiddleBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "ä";
  const std::string shown = Printable(text);
  EXPECT_LE(shown.size(), kPrintableBytesMax + 3);
  EXPECT_NE(shown.find("ä...ä"), std::string::npos);
}

TEST(Quoted, ShowsWhereTextBeginsAndEnds) { EXPECT_EQ(Quoted(""), "''"); }

}  // namespace
}  // namespace quantd::server
