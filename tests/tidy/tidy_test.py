"""The house rules, applied to the tree; and each rule, shown a text that breaks it."""

import pathlib
import unittest

import rules

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["kernels", "proto", "server", "client", "tests", "tools", "cmake", "docs", ".ci"]
CPP = {".h", ".cc"}
TEXT = CPP | {".py", ".sh", ".proto", ".cmake", ".txt", ".md"}


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def files(suffixes):
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in suffixes and file.is_file():
                yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")


class Tree(unittest.TestCase):
    def assert_clean(self, findings):
        self.assertFalse(findings, "\n" + "\n".join(findings))

    def test_cpp_files_keep_the_rules(self):
        self.assert_clean([f for path, text in files(CPP) for rule in rules.CPP_RULES for f in rule(path, text)])

    def test_text_files_keep_the_rules(self):
        self.assert_clean([f for path, text in files(TEXT) for rule in rules.TEXT_RULES for f in rule(path, text)])

    def test_every_reason_is_documented(self):
        self.assert_clean(rules.undocumented_reasons(read("kernels/base/error_reason.h"), read("docs/protocol.md")))

    def test_every_reason_in_the_contract_exists(self):
        reasons = read("kernels/base/error_reason.h")
        self.assert_clean([f for path, text in files({".proto"}) for f in rules.unknown_reasons(path, text, reasons)])

    def test_every_configuration_field_is_documented(self):
        proto = read("proto/quantd/config/v1/server_config.proto")
        self.assert_clean(rules.undocumented_fields(proto, read("docs/operations.md")))

    def test_the_tree_was_read(self):
        self.assertGreater(len(list(files(CPP))), 20)


class Rules(unittest.TestCase):
    def assert_finds(self, findings, line):
        self.assertEqual(1, len(findings), findings)
        self.assertRegex(findings[0], rf":{line}: ")

    def test_a_lower_folder_must_not_include_a_higher_one(self):
        text = '#pragma once\n#include "kernels/scheme/plan.h"\n'
        self.assert_finds(rules.include_direction("kernels/format/nf4.h", text), 2)
        self.assertEqual([], rules.include_direction("kernels/backend/backend.h", text))

    def test_client_and_server_do_not_meet(self):
        self.assert_finds(rules.include_direction("client/cpp/client.cc", '#include "server/session/limits.h"'), 1)
        self.assert_finds(rules.include_direction("server/rpc/a.cc", '#include "client/cpp/client.h"'), 1)
        self.assertEqual([], rules.include_direction("client/cli/main.cc", '#include "server/session/limits.h"'))

    def test_an_unknown_folder_is_a_finding(self):
        self.assert_finds(rules.include_direction("misc/a.cc", ""), 1)

    def test_a_prefix_of_a_name_is_not_a_folder(self):
        self.assert_finds(rules.include_direction("kernels/base/a.h", '#include "kernels/base_two/b.h"'), 1)

    def test_kernels_do_not_see_generated_headers(self):
        text = '#include "quantd/v1/tensor.pb.h"'
        self.assert_finds(rules.generated_headers("kernels/scheme/plan.cc", text), 1)
        self.assert_finds(rules.generated_headers("server/session/stream.cc", text), 1)
        self.assertEqual([], rules.generated_headers("server/rpc/convert.cc", text))

    def test_kernels_do_not_see_grpc(self):
        self.assert_finds(rules.banned_libraries("kernels/base/a.cc", "#include <grpcpp/grpcpp.h>"), 1)
        self.assert_finds(rules.banned_libraries("kernels/cpu/a.cc", '#include "google/protobuf/message.h"'), 1)
        self.assertEqual([], rules.banned_libraries("server/rpc/a.cc", "#include <grpcpp/grpcpp.h>"))

    def test_the_environment_is_read_in_one_place(self):
        text = 'auto home = std::getenv("HOME");'
        self.assert_finds(rules.environment_reads("kernels/cpu/target.cc", text), 1)
        self.assertEqual([], rules.environment_reads("server/config/parse.cc", text))

    def test_tests_do_not_sleep(self):
        text = "\nstd::this_thread::sleep_for(1s);"
        self.assert_finds(rules.sleeping_tests("tests/server/a_test.cc", text), 2)
        self.assertEqual([], rules.sleeping_tests("client/cpp/sleeper.cc", text))

    def test_leftovers_are_found(self):
        for marker in ("TO" + "DO", "FIX" + "ME", "X" * 3):
            self.assert_finds(rules.leftovers("server/main.cc", f"\n\n// {marker}: later"), 3)

    def test_a_long_file_is_found(self):
        self.assertEqual([], rules.file_length("a.cc", "\n" * rules.LINES_MAX))
        self.assert_finds(rules.file_length("a.cc", "\n" * (rules.LINES_MAX + 1)), rules.LINES_MAX + 1)

    def test_a_reason_without_a_row_and_a_row_without_a_reason_are_found(self):
        header = 'inline constexpr std::string_view kNew = "NEW_REASON";'
        self.assert_finds(rules.undocumented_reasons(header, ""), 1)
        self.assert_finds(rules.undocumented_reasons("", "| `OLD_REASON` | x |"), 1)
        self.assertEqual([], rules.undocumented_reasons(header, "| `NEW_REASON` | x |"))

    def test_a_reason_that_only_the_contract_knows_is_found(self):
        self.assert_finds(rules.unknown_reasons("a.proto", "// reason NO_SUCH_REASON.", '"OTHER"'), 1)

    def test_a_field_that_no_page_explains_is_found(self):
        proto = "message A {\n  uint32 slots_max = 1;\n  optional Other other = 2;\n}"
        self.assert_finds(rules.undocumented_fields(proto, "| `limits.slots_max` |"), 1)
        self.assertEqual([], rules.undocumented_fields(proto, "`slots_max` and `other`"))


if __name__ == "__main__":
    unittest.main()
