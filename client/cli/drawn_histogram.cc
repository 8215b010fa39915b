#include "client/cli/drawn_histogram.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/cli/human.h"

namespace quantd::cli {
namespace {

double BarOf(uint64_t count, uint64_t count_max) {
  return std::log1p(static_cast<double>(count)) / std::log1p(static_cast<double>(count_max));
}

uint64_t LargestOf(const DrawnHistogram& histogram) {
  const auto largest = std::max_element(histogram.counts.begin(), histogram.counts.end());
  return largest == histogram.counts.end() ? 0 : *largest;
}

std::string InXml(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

}  // namespace

double DrawnHistogram::BeginOf(size_t bin) const {
  return lowest + (highest - lowest) * static_cast<double>(bin) / static_cast<double>(counts.size());
}

DrawnHistogram DrawHistogram(const TensorStatistics& statistics, size_t bins) {
  const Histogram distribution = statistics.Distribution();
  const BucketRange total = statistics.Total();
  DrawnHistogram drawn;
  if (distribution.size() == 0) return drawn;
  drawn.lowest = total.lowest;
  drawn.highest = total.highest;
  drawn.counts.resize(bins);
  const double width = drawn.highest - drawn.lowest;
  for (size_t i = 0; i < distribution.size(); ++i) {
    const PatternBounds bounds = BoundsOf(statistics.dtype(), distribution.patterns[i]);
    const double middle = (static_cast<double>(bounds.nearest) + static_cast<double>(bounds.farthest)) / 2;
    const double place = width > 0 ? (middle - drawn.lowest) / width : 0;
    const auto bin = static_cast<int64_t>(place * static_cast<double>(bins));
    drawn.counts[std::clamp<int64_t>(bin, 0, static_cast<int64_t>(bins) - 1)] += distribution.counts[i];
  }
  return drawn;
}

std::vector<double> BarHeights(const DrawnHistogram& histogram) {
  const uint64_t largest = LargestOf(histogram);
  std::vector<double> heights;
  heights.reserve(histogram.counts.size());
  for (const uint64_t count : histogram.counts) heights.push_back(largest == 0 ? 0 : BarOf(count, largest));
  return heights;
}

std::string FormatBars(const DrawnHistogram& histogram, size_t width) {
  // From empty to full, in eighths of a character.
  constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const uint64_t largest = LargestOf(histogram);
  std::string text;
  for (size_t bin = 0; bin < histogram.counts.size(); ++bin) {
    const uint64_t count = histogram.counts[bin];
    const auto eighths = static_cast<size_t>(std::lround(BarOf(count, largest) * static_cast<double>(width) * 8));
    absl::StrAppendFormat(&text, "%11s %14d ", HumanNumber(histogram.BeginOf(bin)), count);
    for (size_t i = 0; i < eighths / 8; ++i) text += "█";
    absl::StrAppend(&text, kEighths[eighths % 8], "\n");
  }
  absl::StrAppendFormat(&text, "%11s\n", HumanNumber(histogram.highest));
  return text;
}

std::string FormatSvg(const DrawnHistogram& histogram, const std::string& title) {
  constexpr double kWidth = 800, kHeight = 300, kTop = 40, kLeft = 20, kBottom = 30;
  const uint64_t largest = LargestOf(histogram);
  const double bar_width = kWidth / static_cast<double>(std::max<size_t>(1, histogram.counts.size()));
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
      "<text x=\"%g\" y=\"24\" font-size=\"14\">%s</text>\n",
      kWidth + 2 * kLeft, kTop + kHeight + kBottom, kLeft, InXml(title));
  for (size_t bin = 0; bin < histogram.counts.size(); ++bin) {
    const double height = BarOf(histogram.counts[bin], largest) * kHeight;
    absl::StrAppendFormat(&svg,
                          "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#4878a8\">"
                          "<title>from %s: %d</title></rect>\n",
                          kLeft + bar_width * static_cast<double>(bin), kTop + kHeight - height, bar_width * 0.9,
                          height, HumanNumber(histogram.BeginOf(bin)), histogram.counts[bin]);
  }
  absl::StrAppendFormat(
      &svg,
      "<line x1=\"%g\" y1=\"%g\" x2=\"%g\" y2=\"%g\" stroke=\"black\"/>\n"
      "<text x=\"%g\" y=\"%g\">%s</text>\n<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">bars: logarithm "
      "of the count, at most %d</text>\n<text x=\"%g\" y=\"%g\" text-anchor=\"end\">%s</text>\n</svg>\n",
      kLeft, kTop + kHeight, kLeft + kWidth, kTop + kHeight, kLeft, kTop + kHeight + 18, HumanNumber(histogram.lowest),
      kLeft + kWidth / 2, kTop + kHeight + 18, largest, kLeft + kWidth, kTop + kHeight + 18,
      HumanNumber(histogram.highest));
  return svg;
}

}  // namespace quantd::cli
