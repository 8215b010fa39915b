"""tools/check_conversions.py finds what it is there to find."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tools"))
import check_conversions  # noqa: E402

ENCODER = "void quantd::EncodeShortRuns<(Transform)2, Fp8E4m3, BFloat16Values, false>()"


def dump(architecture, conversions):
    lines = [f"Fatbin elf code:\narch = sm_{architecture}", "\t\tFunction : kernel"]
    lines += ["        /*0010*/                   F2FP.SATFINITE.E4M3.F32.PACK_AB_MERGE_C R1, R2, R3, RZ ;"] * conversions
    lines += ["        /*0020*/              @!P0 LOP3.LUT R1, R2, 0xff, RZ, 0xc0, !PT ;"] * 100
    return "\n".join(lines).splitlines()


def problems_of(architecture, conversions, name=ENCODER):
    return check_conversions.problems(
        check_conversions.opcodes_of_kernels(dump(architecture, conversions)), {"kernel": name})


class CheckConversions(unittest.TestCase):
    def test_a_kernel_that_converts_by_instructions_passes(self):
        self.assertEqual(problems_of(90, 16), ([], 1))

    def test_an_emulated_conversion_is_found(self):
        for conversions in (0, 15):
            found, _ = problems_of(90, conversions)
            self.assertEqual(len(found), 1)
            self.assertIn("sm_90 " + ENCODER, found[0])

    def test_an_architecture_without_the_instruction_may_emulate(self):
        self.assertEqual(problems_of(80, 0), ([], 0))

    def test_other_kernels_are_not_looked_at(self):
        self.assertEqual(problems_of(90, 0, "void quantd::EncodeRows<(Transform)2, Fp8E4m3, BFloat16Values>()"), ([], 0))


if __name__ == "__main__":
    unittest.main()
