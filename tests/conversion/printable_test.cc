#include "server/conversion/printable.h"

#include <gtest/gtest.h>

namespace quantd::server {
namespace {

TEST(Printable, KeepsOrdinaryText) {
  EXPECT_EQ(Printable("model.layers.0.weight"), "model.layers.0.weight");
  EXPECT_EQ(Printable("größe \\ 'q' \"q\" \U0001F642"), "größe \\ 'q' \"q\" \U0001F642");
}

TEST(Printable, EscapesControlCharacters) {
  EXPECT_EQ(Printable("a\x1b[31m\n\x7f\xc2\x9b\xc2\xa0"), "a\\x1b[31m\\x0a\\x7f\\xc2\\x9b\xc2\xa0");
}

TEST(Printable, EscapesWhatIsNotUtf8) {
  for (const std::string bad : {"\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                                "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xc3("}) {
    for (const char c : Printable(bad)) EXPECT_LT(static_cast<unsigned char>(c), 0x80) << Printable(bad);
  }
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
