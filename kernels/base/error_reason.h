// Every reason that quantd gives, as google.rpc.ErrorInfo.reason in the domain "quantd". docs/protocol.md explains
// each; a test compares the two.
#pragma once

#include <string_view>

namespace quantd::reason {

// The request's scheme or tensor. INVALID_ARGUMENT.
inline constexpr std::string_view kUnknownScheme = "UNKNOWN_SCHEME";
inline constexpr std::string_view kUnknownRevision = "UNKNOWN_REVISION";
inline constexpr std::string_view kInvalidOverride = "INVALID_OVERRIDE";
inline constexpr std::string_view kInvalidDtype = "INVALID_DTYPE";
inline constexpr std::string_view kInvalidShape = "INVALID_SHAPE";
inline constexpr std::string_view kInvalidName = "INVALID_NAME";
inline constexpr std::string_view kUnalignedRange = "UNALIGNED_RANGE";
inline constexpr std::string_view kUnusedStatistic = "UNUSED_STATISTIC";
inline constexpr std::string_view kStatisticNeeded = "STATISTIC_NEEDED";
inline constexpr std::string_view kInvalidStatistic = "INVALID_STATISTIC";
inline constexpr std::string_view kNonfiniteInput = "NONFINITE_INPUT";

// Calibration statistics. INVALID_ARGUMENT.
inline constexpr std::string_view kInvalidStatisticsConfig = "INVALID_STATISTICS_CONFIG";
inline constexpr std::string_view kIncompatibleStatistics = "INCOMPATIBLE_STATISTICS";
inline constexpr std::string_view kMalformedQcal = "MALFORMED_QCAL";
inline constexpr std::string_view kInvalidRangeRequest = "INVALID_RANGE_REQUEST";
inline constexpr std::string_view kInvalidSmoothing = "INVALID_SMOOTHING";
inline constexpr std::string_view kStatisticsMissing = "STATISTICS_MISSING";  // FAILED_PRECONDITION
inline constexpr std::string_view kStatisticsLimit = "STATISTICS_LIMIT";      // OUT_OF_RANGE, RESOURCE_EXHAUSTED

// The stream's frames. INVALID_ARGUMENT, checksums DATA_LOSS.
inline constexpr std::string_view kMalformedFrame = "MALFORMED_FRAME";
inline constexpr std::string_view kFrameTooLarge = "FRAME_TOO_LARGE";
inline constexpr std::string_view kUnexpectedTensor = "UNEXPECTED_TENSOR";
inline constexpr std::string_view kUnknownSegment = "UNKNOWN_SEGMENT";
inline constexpr std::string_view kUnexpectedOffset = "UNEXPECTED_OFFSET";
inline constexpr std::string_view kSegmentOrder = "SEGMENT_ORDER";
inline constexpr std::string_view kSegmentTooLong = "SEGMENT_TOO_LONG";
inline constexpr std::string_view kIncompleteTensor = "INCOMPLETE_TENSOR";
inline constexpr std::string_view kMissingChecksum = "MISSING_CHECKSUM";
inline constexpr std::string_view kChecksumMismatch = "CHECKSUM_MISMATCH";

// Calibration.
inline constexpr std::string_view kInvalidCalibration = "INVALID_CALIBRATION";    // INVALID_ARGUMENT
inline constexpr std::string_view kUnknownCalibration = "UNKNOWN_CALIBRATION";    // NOT_FOUND
inline constexpr std::string_view kUnknownTensor = "UNKNOWN_TENSOR";              // NOT_FOUND
inline constexpr std::string_view kCalibrationMismatch = "CALIBRATION_MISMATCH";  // FAILED_PRECONDITION
inline constexpr std::string_view kCalibrationOpen = "CALIBRATION_OPEN";          // FAILED_PRECONDITION
inline constexpr std::string_view kCalibrationClosed = "CALIBRATION_CLOSED";      // FAILED_PRECONDITION
inline constexpr std::string_view kCalibrationBudget = "CALIBRATION_BUDGET";      // RESOURCE_EXHAUSTED

// Uploads.
inline constexpr std::string_view kInvalidUpload = "INVALID_UPLOAD";      // INVALID_ARGUMENT
inline constexpr std::string_view kUploadElsewhere = "UPLOAD_ELSEWHERE";  // ABORTED
inline constexpr std::string_view kUploadUnknown = "UPLOAD_UNKNOWN";      // FAILED_PRECONDITION
inline constexpr std::string_view kUploadMismatch = "UPLOAD_MISMATCH";    // FAILED_PRECONDITION
inline constexpr std::string_view kUploadBusy = "UPLOAD_BUSY";            // UNAVAILABLE
inline constexpr std::string_view kUploadResumed = "UPLOAD_RESUMED";      // ABORTED

// Limits and the server's state.
inline constexpr std::string_view kUnitTooLarge = "UNIT_TOO_LARGE";  // FAILED_PRECONDITION
inline constexpr std::string_view kNoGpu = "NO_GPU";                 // FAILED_PRECONDITION
inline constexpr std::string_view kGpuLost = "GPU_LOST";             // UNAVAILABLE
inline constexpr std::string_view kGpuMemory = "GPU_MEMORY";         // RESOURCE_EXHAUSTED
inline constexpr std::string_view kSpoolBudget = "SPOOL_BUDGET";     // RESOURCE_EXHAUSTED
inline constexpr std::string_view kSpoolFailed = "SPOOL_FAILED";  // RESOURCE_EXHAUSTED for a full disk, else INTERNAL
inline constexpr std::string_view kPrincipalStreams = "PRINCIPAL_STREAMS";  // RESOURCE_EXHAUSTED
inline constexpr std::string_view kServerStreams = "SERVER_STREAMS";        // UNAVAILABLE
inline constexpr std::string_view kPrincipalLoad = "PRINCIPAL_LOAD";        // RESOURCE_EXHAUSTED
inline constexpr std::string_view kServerLoad = "SERVER_LOAD";              // UNAVAILABLE
inline constexpr std::string_view kQueueTooLong = "QUEUE_TOO_LONG";         // UNAVAILABLE
inline constexpr std::string_view kPrincipalSlots = "PRINCIPAL_SLOTS";      // RESOURCE_EXHAUSTED
inline constexpr std::string_view kServerSlots = "SERVER_SLOTS";            // UNAVAILABLE
inline constexpr std::string_view kServerDraining = "SERVER_DRAINING";      // UNAVAILABLE
inline constexpr std::string_view kStalled = "STALLED";                     // DEADLINE_EXCEEDED
inline constexpr std::string_view kBackendFailed = "BACKEND_FAILED";        // INTERNAL

}  // namespace quantd::reason
