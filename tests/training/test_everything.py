"""All that the engine carries at once (`everything.py`): killed at random moments, and on several hosts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("everything.py")


class Process:
    """The program in a process of its own."""

    def __init__(self, ask, folder, options, environment):
        folder.mkdir(exist_ok=True)
        self._ask, self._log = ask, folder / f"said-{time.monotonic_ns()}.txt"
        self._number = ask("start", str(self._log), environment, [str(folder), *options])
        self._status = None

    def status(self, wait=False):
        """None while it runs."""
        if self._status is None:
            self._status = self._ask("status", self._number, wait)
        return self._status

    def kill(self):
        """SIGKILL, and wait for its end."""
        os.kill(self._number, signal.SIGKILL)
        self.status(wait=True)

    def finished(self, seconds=300):
        """Wait for a good end."""
        deadline = time.monotonic() + seconds
        while self.status() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.status() is None:
            self.kill()
        assert self.status() == 0, self._log.read_text()[-2000:]


@pytest.fixture(scope="module")
def start(cpu_devices):
    """`start(folder, *options, devices=1)`: the program in a process of its own, with so many CPU devices."""
    environment = cpu_devices(1)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    # Whatever one of the processes has compiled the others read.
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    server = subprocess.Popen(
        [sys.executable, str(PROGRAM)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip

    def ask(*order):
        server.stdin.write(json.dumps(order) + "\n")
        return json.loads(server.stdout.readline())

    def begin(folder, *options, devices=1):
        return Process(ask, folder, options, {"XLA_FLAGS": cpu_devices(devices)["XLA_FLAGS"]})

    yield begin
    server.stdin.close()
    server.wait(60)
    server.stdout.close()


def found(folder, index=0):
    with np.load(folder / f"found-{index}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    start(folder).finished()
    return found(folder)


def test_it_trains_and_the_frozen_part_stands_still(whole):
    assert (whole["objective"] < 0.2).all()  # the variance of what is to be learned is 0.43
    assert len(whole["restarts"]) == 2


def rows(folder):
    records = folder / "metrics.jsonl"
    return len(records.read_text().splitlines()) if records.exists() else 0


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_as_if_nothing_had_happened(start, whole, tmp_path):
    """SIGKILL, wherever it is: reading, stepping, writing a checkpoint or between phases."""
    rng, kills, resume = np.random.default_rng(0), 0, False
    dispatches = 12 + 6
    for moment in np.sort(rng.choice(np.arange(1, dispatches), 10, replace=False)):
        process = start(tmp_path, *(["--resume"] if resume else []))
        deadline = time.monotonic() + 240
        while process.status() is None and rows(tmp_path) < moment and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        if process.status() is None:
            process.kill()
            kills += 1
        resume = (tmp_path / "metrics.jsonl").exists()
    assert kills >= 5  # a fast one may have ended before its moment
    start(tmp_path, "--resume").finished()
    after = found(tmp_path)
    assert after.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def free_address():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


def hosts(start, folder, *options):
    address = free_address()
    return [start(folder, "--hosts", address, "2", str(i), *options, devices=2) for i in range(2)]


@pytest.mark.slow
def test_two_processes_of_two_devices_are_one_process_to_rounding_and_survive_a_kill(start, whole, tmp_path):
    both = hosts(start, tmp_path)
    deadline = time.monotonic() + 240
    while rows(tmp_path) < 4 and time.monotonic() < deadline and both[0].status() is None:
        time.sleep(0.01)
    both[1].kill()  # the other waits for it: a scheduler restarts both
    both[0].kill()
    assert 4 <= rows(tmp_path) < 18
    both = hosts(start, tmp_path, "--resume")
    for process in both:
        process.finished()
    one, two = found(tmp_path, 0), found(tmp_path, 1)
    assert one["restarts"].tolist() == whole["restarts"].tolist()
    for name, value in whole.items():
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        np.testing.assert_allclose(one[name], value, rtol=2e-3, atol=2e-4, err_msg=name)
