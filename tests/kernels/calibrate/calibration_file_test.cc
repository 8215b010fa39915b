#include "kernels/calibrate/calibration_file.h"

#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "tests/kernels/calibrate/calibrate_data.h"

namespace quantd {
namespace {

Calibration Example(const Case& c, uint32_t seed) {
  Calibration calibration{Config(c.fields), {}};
  for (const DataType dtype : kFloatTypes) {
    calibration.tensors.emplace(InfoOf(dtype).name, StatisticsOf(calibration.config, dtype, c.shape,
                                                                 AnyPatterns(dtype, ElementsOf(c.shape), seed)));
  }
  return calibration;
}

void SetChecksum(Bytes& file) {
  const uint32_t crc = ExtendCrc32c(0, std::span(file).first(file.size() - 4));
  std::memcpy(file.data() + file.size() - 4, &crc, 4);
}

std::string ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

TEST(Qcal, WhatWasReadIsWrittenAgainWithTheSameBytes) {
  for (const Case& c : kCases) {
    const Calibration calibration = Example(c, 1);
    const Bytes file = ToQcal(calibration);
    const auto read = FromQcal(file);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->config, calibration.config);
    EXPECT_EQ(ToQcal(*read), file);
    for (const auto& [name, statistics] : read->tensors) {
      EXPECT_EQ(statistics.Ranges(), calibration.tensors.at(name).Ranges());
      EXPECT_EQ(statistics.MeanSquares(), calibration.tensors.at(name).MeanSquares());
      EXPECT_EQ(statistics.Distribution(), calibration.tensors.at(name).Distribution());
      EXPECT_EQ(statistics.Sum().Value(), calibration.tensors.at(name).Sum().Value());
    }
  }
}

TEST(Qcal, BytesOfOneElement) {
  // docs/formats.md explains each of them.
  const Bytes file =
      ToQcal({StatisticsConfig{}, {{"w", StatisticsOf(std::vector<float>{-1.5f}, DataType::kBFloat16)}}});
  const uint8_t expected[] = {'Q',  'C',  'A',  'L',  1, 0,              // magic, version
                              0,    1,                                   // tensor, distribution
                              0xff, 0xff, 0xff, 0xff, 1, 0, 0,    0,     // axis -1, group_size 1
                              1,    0,    0,    0,    0, 0, 0,    0,     // tensors
                              20,   0,    0,    0,                       // bytes of the record
                              1,    0,    'w',                           // name
                              3,    0,                                   // bfloat16, no extents
                              1,    0,                                   // elements, non-finite
                              0,    0,    0xc0, 0xbf, 0, 0, 0xc0, 0xbf,  // lowest, highest
                              1,    0xc0, 0xff, 0x02, 1};                // bins: 0xbfc0 once
  ASSERT_EQ(file.size(), sizeof(expected) + 4);
  EXPECT_EQ(std::memcmp(file.data(), expected, sizeof(expected)), 0);
}

TEST(Qcal, MergedFilesAreTheFileOfAllInAnyOrder) {
  for (const Case& c : kCases) {
    std::vector<Calibration> parts = {Example(c, 1), Example(c, 2), Example(c, 3)};
    std::vector<size_t> order = {0, 1, 2};
    std::optional<Bytes> expected;
    do {
      Calibration merged{parts[0].config, {}};
      for (const size_t part : order) {
        const auto read = FromQcal(ToQcal(parts[part]));
        ASSERT_TRUE(read.ok());
        ASSERT_TRUE(Merge(merged, *read).ok());
      }
      if (!expected) expected = ToQcal(merged);
      EXPECT_EQ(ToQcal(merged), *expected);
    } while (std::ranges::next_permutation(order).found);
  }
}

TEST(Qcal, MergeChangesNothingOnAnError) {
  Calibration mine{StatisticsConfig{}, {{"b", StatisticsOf({1})}}};
  const Bytes before = ToQcal(mine);
  const Calibration other{StatisticsConfig{}, {{"a", StatisticsOf({1})}, {"b", StatisticsOf({1}, DataType::kFloat16)}}};
  const absl::Status status = Merge(mine, other);
  EXPECT_EQ(ReasonOf(status), "INCOMPATIBLE_STATISTICS");
  EXPECT_EQ(DetailsOf(status).metadata[0].second, "b");
  EXPECT_EQ(ToQcal(mine), before);
  EXPECT_EQ(ReasonOf(Merge(mine, {Config({{"collect", "range"}}), {}})), "INCOMPATIBLE_STATISTICS");
}

TEST(QcalReader, TakesBytesInAnyCut) {
  const Bytes file = ToQcal(Example(kCases[0], 4));
  for (const size_t cut : {size_t{1}, size_t{3}, size_t{1000}}) {
    Calibration read;
    CalibrationReader reader(
        {},
        [&](const StatisticsConfig& config) {
          read.config = config;
          return absl::OkStatus();
        },
        [&](std::string name, TensorStatistics statistics) {
          read.tensors.emplace(std::move(name), std::move(statistics));
          return absl::OkStatus();
        });
    for (size_t i = 0; i < file.size(); i += cut) {
      ASSERT_TRUE(reader.Feed(std::span(file).subspan(i, std::min(cut, file.size() - i))).ok());
    }
    ASSERT_TRUE(reader.Finish().ok());
    EXPECT_EQ(ToQcal(read), file);
  }
}

TEST(QcalReader, EveryShorterFileIsRefused) {
  const Bytes file = ToQcal(Example(kCases[4], 5));
  for (size_t bytes = 0; bytes < file.size(); ++bytes) {
    EXPECT_EQ(ReasonOf(FromQcal(std::span(file).first(bytes)).status()), "MALFORMED_QCAL") << bytes;
  }
  Bytes longer = file;
  longer.push_back(std::byte{0});
  EXPECT_EQ(ReasonOf(FromQcal(longer).status()), "MALFORMED_QCAL");
}

TEST(QcalReader, AChangedByteIsNoticed) {
  const Bytes file = ToQcal(Example(kCases[3], 6));
  for (size_t i = 0; i < file.size(); ++i) {
    Bytes changed = file;
    changed[i] ^= std::byte{1};
    EXPECT_FALSE(FromQcal(changed).ok()) << i;
  }
}

// What it accepts with a right checksum, whoever wrote it, is canonical: the same bytes come out again.
TEST(QcalReader, MutatedFilesAreRefusedOrCanonical) {
  std::mt19937 random(7);
  uint64_t accepted = 0;
  for (const Case& c : kCases) {
    const Bytes file = ToQcal(Example(c, 8));
    for (int round = 0; round < 1500; ++round) {
      Bytes changed = file;
      for (uint32_t i = random() % 3; i < 3; ++i) {
        const size_t at =
            random() % 4 == 0 ? random() % std::min<size_t>(changed.size(), 80) : random() % changed.size();
        switch (random() % 4) {
          case 0:
            changed[at] = static_cast<std::byte>(random());
            break;
          case 1:
            changed[at] ^= static_cast<std::byte>(1u << random() % 8);
            break;
          case 2:
            changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(at));
            break;
          default:
            changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(at), static_cast<std::byte>(random()));
        }
      }
      SetChecksum(changed);
      const auto read =
          FromQcal(changed, {.tensors_max = 100, .record_bytes_max = 1 << 20, .memory_bytes_max = 1 << 22});
      if (!read.ok()) continue;
      ++accepted;
      EXPECT_EQ(ToQcal(*read), changed);
    }
  }
  EXPECT_GT(accepted, 100u);
}

TEST(QcalReader, LimitsHoldBeforeAnythingIsAllocated) {
  const Bytes file = ToQcal(Example(kCases[4], 9));
  EXPECT_EQ(ReasonOf(FromQcal(file, {.tensors_max = 2}).status()), "STATISTICS_LIMIT");
  EXPECT_EQ(ReasonOf(FromQcal(file, {.record_bytes_max = 100}).status()), "STATISTICS_LIMIT");
  EXPECT_EQ(ReasonOf(FromQcal(file, {.memory_bytes_max = 1000}).status()), "STATISTICS_LIMIT");
}

TEST(QcalReader, AShapeWithManyBucketsNeedsTheirBytes) {
  Bytes file = ToQcal({Config({{"grouping", "channel"}, {"collect", "importance"}}), {}});
  const uint8_t record[] = {14, 0, 0, 0, 1, 0, 'w', 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};  // 2^24 channels
  file.resize(file.size() - 4);
  file[16] = std::byte{1};
  for (const uint8_t byte : record) file.push_back(static_cast<std::byte>(byte));
  file.resize(file.size() + 4);
  SetChecksum(file);
  EXPECT_EQ(ReasonOf(FromQcal(file).status()), "MALFORMED_QCAL");
}

TEST(QcalWriter, NamesMustAscend) {
  const TensorStatistics statistics = StatisticsOf({1});
  CalibrationWriter writer(statistics.config(), 2, [](std::span<const std::byte>) { return absl::OkStatus(); });
  EXPECT_TRUE(writer.Write("b", statistics).ok());
  EXPECT_FALSE(writer.Write("a", statistics).ok());
  EXPECT_FALSE(writer.Finish().ok());
}

}  // namespace
}  // namespace quantd
