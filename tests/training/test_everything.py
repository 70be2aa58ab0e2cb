"""All that the engine carries at once (`everything.py`): killed at random moments, and on several hosts."""

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


def start(folder, *options, devices=1):
    """The program in a process of its own, with so many CPU devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), *options],
        env=os.environ | flags | {"PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finished(*processes):
    said = [p.communicate(timeout=300)[0] for p in processes]
    assert all(p.returncode == 0 for p in processes), "\n".join(s[-2000:] for s in said)


def found(folder, index=0):
    with np.load(folder / f"found-{index}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    finished(start(folder))
    return found(folder)


def test_it_trains_and_the_frozen_part_stands_still(whole):
    assert (whole["objective"] < 0.2).all()  # the variance of what is to be learned is 0.43
    assert len(whole["restarts"]) == 2


def rows(folder):
    records = folder / "metrics.jsonl"
    return len(records.read_text().splitlines()) if records.exists() else 0


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_as_if_nothing_had_happened(whole, tmp_path):
    """SIGKILL, wherever it is: reading, stepping, writing a checkpoint or between phases."""
    rng, kills, resume = np.random.default_rng(0), 0, False
    dispatches = 12 + 6
    for moment in np.sort(rng.choice(np.arange(1, dispatches), 10, replace=False)):
        process = start(tmp_path, *(["--resume"] if resume else []))
        deadline = time.monotonic() + 240
        while process.poll() is None and rows(tmp_path) < moment and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        resume = (tmp_path / "metrics.jsonl").exists()
    assert kills >= 5  # a fast one may have ended before its moment
    finished(start(tmp_path, "--resume"))
    after = found(tmp_path)
    assert after.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def free_address():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


def hosts(folder, *options):
    address = free_address()
    return [start(folder, "--hosts", address, "2", str(i), *options, devices=2) for i in range(2)]


@pytest.mark.slow
def test_two_processes_of_two_devices_are_one_process_to_rounding_and_survive_a_kill(whole, tmp_path):
    both = hosts(tmp_path)
    deadline = time.monotonic() + 240
    while rows(tmp_path) < 4 and time.monotonic() < deadline and both[0].poll() is None:
        time.sleep(0.01)
    both[1].kill()  # the other waits for it: a scheduler restarts both
    both[1].communicate()
    both[0].kill()
    both[0].communicate()
    assert 4 <= rows(tmp_path) < 18
    both = hosts(tmp_path, "--resume")
    finished(*both)
    one, two = found(tmp_path, 0), found(tmp_path, 1)
    assert one["restarts"].tolist() == whole["restarts"].tolist()
    for name, value in whole.items():
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        np.testing.assert_allclose(one[name], value, rtol=2e-3, atol=2e-4, err_msg=name)
