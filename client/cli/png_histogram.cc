#include "client/cli/png_histogram.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace quantd::cli {
namespace {

constexpr size_t kWidth = 840;
constexpr size_t kHeight = 330;
constexpr size_t kMargin = 20;
constexpr size_t kAxisY = kHeight - kMargin;
// Entries of the palette.
constexpr uint8_t kWhite = 0, kBar = 1, kAxis = 2;
constexpr uint8_t kPalette[] = {0xff, 0xff, 0xff, 0x48, 0x78, 0xa8, 0, 0, 0};

std::vector<uint8_t> Pixels(const DrawnHistogram& histogram) {
  std::vector<uint8_t> pixels(kWidth * kHeight, kWhite);
  const std::vector<double> heights = BarHeights(histogram);
  const double pitch =
      static_cast<double>(kWidth - 2 * kMargin) / static_cast<double>(std::max<size_t>(1, heights.size()));
  const auto column_of = [&](double bin) { return kMargin + static_cast<size_t>(bin * pitch); };
  for (size_t bin = 0; bin < heights.size(); ++bin) {
    const auto begin = column_of(static_cast<double>(bin));
    const auto end = std::max(begin + 1, column_of(static_cast<double>(bin) + 0.9));
    const auto height = static_cast<size_t>(std::lround(heights[bin] * static_cast<double>(kAxisY - kMargin)));
    for (size_t y = kAxisY - height; y < kAxisY; ++y)
      std::fill(&pixels[y * kWidth + begin], &pixels[y * kWidth + end], kBar);
  }
  std::fill(&pixels[kAxisY * kWidth + kMargin], &pixels[kAxisY * kWidth + kWidth - kMargin], kAxis);
  return pixels;
}

}  // namespace

absl::StatusOr<std::vector<std::byte>> FormatPng(const DrawnHistogram& histogram) {
  const std::vector<uint8_t> pixels = Pixels(histogram);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = kWidth;
  image.height = kHeight;
  image.format = PNG_FORMAT_RGB_COLORMAP;
  image.colormap_entries = sizeof(kPalette) / 3;
  std::vector<std::byte> file(PNG_IMAGE_PNG_SIZE_MAX(image));
  size_t bytes = file.size();
  const bool written = png_image_write_to_memory(&image, file.data(), &bytes, 0, pixels.data(), kWidth, kPalette) != 0;
  if (!written) return absl::InternalError(absl::StrCat("libpng: ", image.message));
  file.resize(bytes);
  return file;
}

}  // namespace quantd::cli
