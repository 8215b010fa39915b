"""quantctl bench and the process of its servers."""

import json
import os
import select
import signal
import subprocess
import sys
import unittest
from pathlib import Path

QUANTCTL = sys.argv.pop(1)
PATIENCE_MS = 60_000


def children_of(pid):
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


class BenchProcesses(unittest.TestCase):
    def test_measures_servers_in_a_process_of_their_own(self):
        small = ["--tensor-mib=1", "--rounds=1", "--connections=2", "--small-calls=2", "--small-tensors=2"]
        run = subprocess.run([QUANTCTL, "bench", "--json", *small], capture_output=True, text=True, check=True)
        report = json.loads(run.stdout)
        self.assertEqual([row["direction"] for row in report["bulk"]], ["quantize", "dequantize"])
        for row in report["bulk"]:
            self.assertGreater(row["values_gb_per_s"], 0)
            self.assertGreater(row["raw_echo_gb_per_s"], 0)

    def test_servers_end_with_the_bench_however_that_ends(self):
        bench = subprocess.Popen([QUANTCTL, "bench", "--rounds=1000"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        with bench:
            self.assertIn(b"measuring quantize", bench.stderr.readline())
            (servers,) = children_of(bench.pid)
            gone = os.pidfd_open(servers)
            bench.kill()
        poll = select.poll()
        poll.register(gone, select.POLLIN)
        self.assertTrue(poll.poll(PATIENCE_MS), "the servers' process outlives the bench")
        os.close(gone)

    def test_an_interruption_ends_it(self):
        with subprocess.Popen([QUANTCTL, "bench", "--rounds=1000"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as bench:
            self.assertIn(b"measuring quantize", bench.stderr.readline())
            bench.send_signal(signal.SIGINT)
            self.assertIn(b"interrupted", bench.communicate(timeout=PATIENCE_MS / 1000)[1])
            self.assertEqual(bench.returncode, 130)

    def test_a_target_that_is_none_is_an_error_of_usage(self):
        run = subprocess.run([QUANTCTL, "bench", "--cpu-target", "z80"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 2)
        self.assertIn("z80", run.stderr)

    def test_the_servers_process_is_not_for_people(self):
        run = subprocess.run([QUANTCTL, "serve-bench"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 2)
        self.assertIn("quantctl bench", run.stderr)


if __name__ == "__main__":
    unittest.main()
