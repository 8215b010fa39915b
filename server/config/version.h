// Which release this is.
#pragma once

#include <string_view>

namespace quantd::server {

inline constexpr std::string_view kVersion = QUANTD_VERSION;

}  // namespace quantd::server
