// The part of a log line that is ours to format, safe whatever strings come in.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "server/telemetry/logger.h"

namespace quantd::server {

// `message name=value name="quoted value"`, printable ASCII only.
std::string TextLine(std::string_view message, std::initializer_list<LogField> fields);

// `"message":"...","name":value`: the inside of a JSON object, printable ASCII only. A number that JSON cannot write
// becomes null.
std::string JsonMembers(std::string_view message, std::initializer_list<LogField> fields);

}  // namespace quantd::server
