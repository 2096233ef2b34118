"""Processes forked for single calls: what they return, how their deaths are told, and that none is left over."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pinnsolve.comparison.isolation import Template

HERE = Path(__file__).parent


@pytest.fixture
def template():
    """Return a template that is ended after the test."""
    made = Template()
    yield made
    made.close()


def set_variable(name):
    os.environ[name] = "set"
    return os.getpid(), os.getppid()


def variable(name):
    return os.environ.get(name)


def leave(code):
    os._exit(code)


def kill(number):
    os.kill(os.getpid(), number)


def kill_template():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def import_something():
    before = "pinnsolve.report.figures" in sys.modules
    import pinnsolve.report.figures  # noqa: F401

    return before


def fresh_pages(size, count):
    """Return how many pages the system gave for so many buffers, made and freed in turn after a first one."""
    bytearray(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        bytearray(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def wait(folder):
    (Path(folder) / "pid").write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(600)


def test_every_call_has_a_process_of_its_own_and_leaves_nothing_in_the_next(template):
    first, parent = template.call(set_variable, "PINNSOLVE_TEST")
    second, same = template.call(set_variable, "PINNSOLVE_TEST")
    assert first != second
    assert parent == same
    assert template.call(variable, "PINNSOLVE_TEST") is None
    assert os.getpid() not in (first, second, parent)


def test_a_call_finds_imported_what_the_one_before_had_to_import(template):
    assert [template.call(import_something) for _ in range(2)] == [False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have allocators of their own")
def test_forks_use_freed_memory_again_also_in_workers_of_dask(template, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as Dask starts its workers
    size = 2**24
    assert template.call(fresh_pages, size, 8) < size // resource.getpagesize()  # less than one of the eight needs
    code = f"from tests.test_isolation import fresh_pages; print(fresh_pages({size}, 8))"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert int(plain.stdout) >= 8 * size // resource.getpagesize()


@pytest.mark.parametrize(
    ("function", "argument", "how"),
    [(leave, 7, "exit code 7"), (kill, signal.SIGKILL, "killed by SIGKILL"), (len, 3, "exit code 1")],
)
def test_a_process_that_ends_without_a_value_says_how(template, function, argument, how):
    with pytest.raises(ChildProcessError, match=how):
        template.call(function, argument)
    assert template.call(len, "abc") == 3


def test_a_template_that_dies_is_replaced(template):
    with pytest.raises(ChildProcessError, match="the process that it is forked from died"):
        template.call(kill_template)
    assert template.call(len, "abc") == 3


def gone(processes, seconds=60):
    """Return whether these processes have ended; waits for them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(map(psutil.pid_exists, processes)):
        time.sleep(0.05)
    return not any(map(psutil.pid_exists, processes))


def test_forks_end_when_their_caller_is_killed(tmp_path):
    code = "from pinnsolve.comparison.isolation import Template; import tests.test_isolation as t; "
    code += f"Template().call(t.wait, {str(tmp_path)!r})"
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=HERE.parent)
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert caller.poll() is None
        time.sleep(0.05)
    processes = [int(number) for number in (tmp_path / "pid").read_text().split()]
    assert all(map(psutil.pid_exists, processes))
    caller.kill()
    caller.wait()
    assert gone(processes)
