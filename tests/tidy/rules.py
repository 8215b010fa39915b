"""What the compiler does not check: each rule takes texts and returns findings as "path:line: what is wrong"."""

import re

KERNELS = ["kernels/base", "kernels/format", "kernels/scheme", "kernels/backend", "kernels/cpu", "kernels/calibrate", "kernels/cuda"]

# Folder: the folders whose headers it may include besides its own. A folder that is not named is checked as its parent.
ALLOWED_INCLUDES = {
    "kernels/base": [],
    "kernels/format": ["kernels/base"],
    "kernels/scheme": ["kernels/base", "kernels/format"],
    "kernels/backend": ["kernels/base", "kernels/format", "kernels/scheme"],
    "kernels/cpu": ["kernels/base", "kernels/format", "kernels/scheme", "kernels/backend"],
    "kernels/calibrate": ["kernels/base", "kernels/format", "kernels/scheme", "kernels/backend", "kernels/cpu"],
    "kernels/cuda": ["kernels/base", "kernels/format", "kernels/scheme", "kernels/backend", "kernels/calibrate"],
    "proto/codec": ["kernels/base"],
    "server/session": ["kernels/base", "kernels/scheme", "kernels/backend", "proto/codec"],
    "server/telemetry": ["kernels/base", "server/config"],
    "server/config": ["kernels/base", "proto/codec", "server/session"],
    "server/conversion": ["kernels/base", "kernels/scheme"],
    "server/rpc": ["kernels/base", "kernels/scheme", "kernels/backend", "proto/codec", "server/session", "server/telemetry"],
    "server/worker": ["kernels/base", "kernels/scheme", "kernels/backend", "kernels/cpu", "server/config", "server/session", "server/telemetry"],
    "server/worker/main.cc": KERNELS + ["server/session", "server/worker"],
    "server/worker/cuda_device.cc": KERNELS + ["server/worker"],
    "server/lifecycle": KERNELS + ["server/config", "server/rpc", "server/session", "server/telemetry", "server/worker"],
    "server": KERNELS + ["server"],
    "client/cpp": ["kernels/base", "kernels/scheme", "proto/codec"],
    "client/cli": KERNELS + ["client/cpp", "server"],
    "tests": KERNELS + ["proto/codec", "server", "client", "tests"],
}

# Headers that protoc makes: folders that may include them.
GENERATED_HEADERS_IN = ["proto/codec", "server/rpc", "server/config", "server/lifecycle", "client", "tests"]

# Libraries that a folder must never see.
BANNED_LIBRARIES = {
    "kernels": ["grpc", "grpcpp", "google/protobuf", "spdlog", "nlohmann", "toml++", "CLI"],
    "proto/codec": ["spdlog", "nlohmann", "toml++", "CLI"],
    "server/session": ["grpc", "grpcpp", "google/protobuf", "spdlog", "nlohmann", "toml++", "CLI"],
    "server/conversion": ["grpc", "grpcpp", "google/protobuf", "spdlog"],
    "client/cpp": ["spdlog", "nlohmann", "toml++", "CLI"],
}

ENVIRONMENT_READ_IN = ["server/config", "server/main.cc", "client/cli/main.cc", "tests"]
LINES_MAX = 600

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
_GENERATED = re.compile(r"\.pb\.h$")
_ENVIRONMENT = re.compile(r"\b(secure_)?getenv\s*\(|\benviron\b")
_SLEEP = re.compile(r"\b(sleep_for|sleep_until|SleepFor|usleep|nanosleep|sleep)\s*\(")
_LEFTOVER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
_OURS = ("kernels/", "proto/", "server/", "client/", "tests/")


def _under(path, folders):
    return any(path == f or path.startswith(f + "/") for f in folders)


def _longest_match(path, table):
    matches = [folder for folder in table if _under(path, [folder])]
    return max(matches, key=len, default=None)


def _includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = _INCLUDE.match(line)
        if match:
            yield number, match.group(2)


def include_direction(path, text):
    """Ours may include only ours that lie below; see ALLOWED_INCLUDES."""
    findings = []
    folder = _longest_match(path, ALLOWED_INCLUDES)
    if folder is None:
        return [f"{path}:1: its folder is not in ALLOWED_INCLUDES of tests/tidy/rules.py"]
    for line, header in _includes(text):
        if not header.startswith(_OURS) or _GENERATED.search(header):
            continue
        if not _under(header, [folder] + ALLOWED_INCLUDES[folder]):
            findings.append(f"{path}:{line}: {folder} must not include {header}")
    return findings


def generated_headers(path, text):
    """Generated types stay at the edges."""
    if _under(path, GENERATED_HEADERS_IN):
        return []
    return [f"{path}:{line}: generated header {header} outside {', '.join(GENERATED_HEADERS_IN)}"
            for line, header in _includes(text) if _GENERATED.search(header)]


def banned_libraries(path, text):
    """Folders that must build without a library do not include it; see BANNED_LIBRARIES."""
    folder = _longest_match(path, BANNED_LIBRARIES)
    if folder is None:
        return []
    return [f"{path}:{line}: {folder} must not use {header}"
            for line, header in _includes(text) if _under(header, BANNED_LIBRARIES[folder])]


def environment_reads(path, text):
    """The environment is an input of the configuration, of nothing else."""
    if _under(path, ENVIRONMENT_READ_IN):
        return []
    return _matches(path, text, _ENVIRONMENT, "the environment is read only in server/config and the two main.cc")


def sleeping_tests(path, text):
    """A test that sleeps is slow, and flaky on a slower machine."""
    return _matches(path, text, _SLEEP, "tests wait for an event, they do not sleep") if _under(path, ["tests"]) else []


def leftovers(path, text):
    """Work that is left is an issue, not a comment."""
    return _matches(path, text, _LEFTOVER, "leftover marker")


def file_length(path, text):
    """A long file has more than one idea."""
    lines = len(text.splitlines())
    return [f"{path}:{lines}: {lines} lines, at most {LINES_MAX}"] if lines > LINES_MAX else []


def undocumented_reasons(error_reason_h, protocol_md):
    """Every reason has a row in docs/protocol.md, and every row is a reason."""
    reasons = set(re.findall(r'std::string_view k\w+ = "([A-Z_]+)"', error_reason_h))
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", protocol_md, re.MULTILINE))
    return ([f"docs/protocol.md:1: no row for the reason {r}" for r in sorted(reasons - rows)] +
            [f"docs/protocol.md:1: {r} is not in kernels/base/error_reason.h" for r in sorted(rows - reasons)])


def unknown_reasons(path, proto, error_reason_h):
    """A reason that a .proto promises exists."""
    reasons = set(re.findall(r'"([A-Z_]+)"', error_reason_h))
    named = re.findall(r"reasons? ([A-Z]+_[A-Z_]+)", proto)
    return [f"{path}:1: {r} is not in kernels/base/error_reason.h" for r in named if r not in reasons]


def undocumented_fields(server_config_proto, operations_md):
    """Every field of the configuration is in docs/operations.md, as `name`, or in a `path.to.name`."""
    fields = re.findall(r"^\s+(?:optional |repeated )?[\w.<>, ]+ (\w+) = \d+;", server_config_proto, re.MULTILINE)
    return [f"docs/operations.md:1: the configuration field `{f}` is not explained"
            for f in fields if not re.search(rf"`(?:\w+\.)*{f}(?:\.\w+)*`", operations_md)]


def _matches(path, text, pattern, message):
    return [f"{path}:{number}: {message}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


CPP_RULES = [include_direction, generated_headers, banned_libraries, environment_reads, sleeping_tests]
TEXT_RULES = [leftovers, file_length]
