"""Run folders keep what was saved: whole files, one writer, checkpoints that load or say why not."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pinnsolve.errors import DivergenceError, InputError, ResourceError, RunFolderError
from pinnsolve.runs import RunFolder, arrays, atomic, load_newest, records, save_checkpoint
from pinnsolve.runs.checkpoints import MAX_TENSORS

ROW = {"step": 1, "seconds": 0.5, "stage": "lm", "loss": 1e-3, "error": None, "burgers": 1e-3}


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path, "burgers", "one") as made:
        made.write_settings({"seed": 0, "network": {"width": 20, "fourier": None}})
        made.write_problem('title = "Burgers, ν"\n')
        yield made


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fail_with(number: int):
    def fail(*_args, **_keywords):
        raise OSError(number, os.strerror(number))

    return fail


# ------------------------------------------------------------------------------- what is written is read back


def test_every_file_comes_back_as_it_was_written(folder):
    solution = {
        "coordinates": np.array(["x", "t"]),
        "axis_x": np.linspace(0, 1, 5),
        "file": np.arange(6.0).reshape(2, 3).T,
    }
    folder.write_solution(solution)
    folder.write_derivatives([{"term": "u_x", "scheme": "forward", "dtype": "float32", "step": 1e-4, "best": True}])
    folder.write_metrics({"status": "finished", "steps": np.int64(3), "seconds": np.float32(0.5)})
    read = RunFolder.open(folder.path)
    assert read.settings() == {"seed": 0, "network": {"width": 20}}
    assert read.problem_text() == 'title = "Burgers, ν"\n'
    assert read.metrics() == {"schema": 1, "status": "finished", "steps": 3, "seconds": 0.5}
    assert read.derivatives() == [{"term": "u_x", "scheme": "forward", "dtype": "float32", "step": 1e-4, "best": 1.0}]
    assert set(read.solution()) == set(solution)
    for name, array in read.solution().items():
        np.testing.assert_array_equal(array, solution[name])


def test_history_keeps_every_digit_and_empty_cells_are_nan(folder):
    loss = 0.1 + 0.2
    folder.append_history({**ROW, "loss": loss})
    folder.append_history({**ROW, "step": 2, "loss": float("inf"), "error": float("nan")})
    history = folder.history()
    assert history["loss"].tolist() == [loss, float("inf")]
    assert np.isnan(history["error"]).all()
    assert history["stage"].tolist() == ["lm", "lm"]
    with pytest.raises(RunFolderError, match=r"history\.csv: has the columns step, .*, damping; move it away to go on"):
        folder.append_history({**ROW, "damping": 1.0})


def test_a_history_row_cut_off_by_a_kill_is_left_out_and_a_rewound_one_goes_on(folder):
    for step in range(5):
        folder.append_history({**ROW, "step": step})
    with (folder.path / "history.csv").open("a") as file:
        file.write("5,0.5,l")
    assert folder.history()["step"].tolist() == [0, 1, 2, 3, 4]
    folder.close()
    resumed = RunFolder.resume(folder.path)
    resumed.rewind_history(2)
    resumed.append_history({**ROW, "step": 3, "loss": 7.0})
    assert resumed.history()["step"].tolist() == [0, 1, 2, 3]
    assert resumed.history()["loss"].tolist() == [1e-3, 1e-3, 1e-3, 7.0]
    resumed.close()


def test_nan_becomes_null_in_metrics_and_never_zero(folder):
    folder.write_metrics(
        {"b": float("nan"), "a": [float("inf"), np.float64("-inf")], "c": {"d": np.array([1.0, np.nan])}}
    )
    text = (folder.path / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "schema": 1,
        "b": None,
        "a": [None, None],
        "c": {"d": [1.0, None]},
    }
    assert list(json.loads(text)) == ["schema", "b", "a", "c"]


def test_a_value_that_is_no_record_is_refused():
    with pytest.raises(TypeError, match="a set cannot be saved"):
        records.plain_values({"a": {1, 2}})


def test_formulas_are_inert_in_csv_and_come_back(folder):
    hostile = "=cmd|' /C calc'!A0"
    folder.append_history({"step": 1, "stage": hostile, hostile: -1.0})
    cells = [cell for line in (folder.path / "history.csv").read_text().splitlines() for cell in line.split(",")]
    assert not any(cell.strip('"').startswith(("=", "@", "+")) for cell in cells)
    assert folder.history()["stage"].tolist() == [hostile]
    assert folder.history()[hostile].tolist() == [-1.0]


def test_arrays_with_python_objects_are_neither_written_nor_read(folder):
    with pytest.raises(ValueError, match="dtype object"):
        folder.write_solution({"u": np.array([{}], dtype=object)})
    np.savez(folder.path / "solution.npz", u=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(RunFolderError, match="dtype object is not read"):
        folder.solution()


def test_archives_of_others_are_read_in_both_memory_orders(folder):
    values = np.arange(6.0).reshape(2, 3)
    np.savez(folder.path / "solution.npz", c=values, f=np.asfortranarray(values), scalar=np.float32(2))
    read = folder.solution()
    np.testing.assert_array_equal(read["c"], values)
    np.testing.assert_array_equal(read["f"], values)
    assert read["scalar"].shape == ()
    folder.write_solution(read)
    assert folder.solution()["scalar"].shape == ()


def test_an_archive_that_declares_too_much_is_not_unpacked(folder, monkeypatch):
    folder.write_solution({"u": np.zeros(100_000)})
    monkeypatch.setattr(arrays, "MAX_BYTES", 100_000)
    with pytest.raises(RunFolderError, match=r"800\d\d\d bytes are more"):
        folder.solution()


@pytest.mark.parametrize(
    ("file", "content", "read"),
    [
        ("metrics.json", b'{"schema": 1, "a": NaN}', "metrics"),
        ("metrics.json", b'{"schema": 2}', "metrics"),
        ("metrics.json", b"[" * 100_000, "metrics"),
        ("metrics.json", b"[1]", "metrics"),
        ("metrics.json", b"\xff", "metrics"),
        ("settings.toml", b"a = ", "settings"),
        ("history.csv", b"", "history"),
        ("history.csv", b"step,loss\n1\n", "history"),
        ("history.csv", b"step,loss\n1,two\n", "history"),
        ("derivatives.csv", b'term\n"u\n', "derivatives"),
        ("solution.npz", b"PK\x03\x04 not an archive", "solution"),
        ("solution.npz", b"", "solution"),
    ],
)
def test_a_broken_file_is_named(folder, file, content, read):
    (folder.path / file).write_bytes(content)
    with pytest.raises(RunFolderError, match=file):
        getattr(folder, read)()


def test_a_missing_file_is_named(folder):
    with pytest.raises(RunFolderError, match=r"solution.npz: the file is missing"):
        folder.solution()


def test_open_wants_a_finished_run(folder, tmp_path):
    with pytest.raises(RunFolderError, match="pinnsolve resume"):
        RunFolder.open(folder.path)
    for path in (tmp_path / "none", Path("a\0b")):
        with pytest.raises(RunFolderError, match="is not a run folder; runs are in outputs"):
            RunFolder.open(path)


def test_a_folder_of_runs_is_told_from_a_run(folder, tmp_path):
    for path in (tmp_path, folder.path.parent):
        for use in (RunFolder.open, RunFolder.resume):
            with pytest.raises(RunFolderError, match=f"{path}: there is no run .*; runs below it: {folder.path}$"):
                use(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match=r"no run in this folder; runs are in outputs/<problem>/<run>$"):
        RunFolder.open(tmp_path / "empty")


# ------------------------------------------------------------------------------- names, overwriting, locks


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0b", "x" * 5000, "-rf", "a\nb", "\u202ea", "a."]
)
def test_names_with_path_parts_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be the name of a run"):
        RunFolder.create(tmp_path, "burgers", name)
    with pytest.raises(InputError, match="cannot be the name of a problem"):
        RunFolder.create(tmp_path, name, "one")
    assert list(tmp_path.iterdir()) == []


def test_default_names_differ(tmp_path):
    with RunFolder.create(tmp_path, "burgers") as one, RunFolder.create(tmp_path, "burgers") as two:
        assert one.path != two.path


def test_an_existing_run_is_refused_and_overwriting_removes_only_its_files(tmp_path):
    with RunFolder.create(tmp_path, "burgers", "né 1") as old:
        old.write_settings({"seed": 0})
        old.write_figure("history.png", b"png")
        save_checkpoint(old, 1, {"w": torch.ones(2)}, {})
    (old.path / "notes.txt").write_text("mine")
    (old.path / "figures" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="--overwrite"):
        RunFolder.create(tmp_path, "burgers", "né 1")
    with RunFolder.create(tmp_path, "burgers", "né 1", overwrite=True) as new:
        files = {str(path.relative_to(new.path)) for path in new.path.rglob("*") if path.is_file()}
        assert files == {".lock", "notes.txt", "figures/notes.txt"}


def test_a_place_that_cannot_be_used_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    RunFolder.refuse_taken(tmp_path / "new", "p", "r", False)
    assert list(tmp_path.iterdir()) == []
    with RunFolder.create(tmp_path, "p", "r") as folder:
        folder.write_settings({"seed": 1})
    with pytest.raises(InputError, match="there is a run already"):
        RunFolder.refuse_taken(tmp_path, "p", "r", False)
    RunFolder.refuse_taken(tmp_path, "p", "r", True)
    assert folder.settings() == {"seed": 1}
    with pytest.raises(InputError, match=r"settings\.toml/p/r: cannot be written there \(Not a directory\)"):
        RunFolder.refuse_taken(tmp_path / "p" / "r" / "settings.toml", "p", "r", False)
    with pytest.raises(InputError, match="File name too long"):
        RunFolder.refuse_taken(tmp_path / ("x" * 300), "p", "r", False)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(ResourceError, match=r"new/p/r: cannot be written \(Permission denied\); choose another place"):
        RunFolder.refuse_taken(tmp_path / "new", "p", "r", False)


def test_overwriting_does_not_follow_links_out_of_the_folder(tmp_path):
    outside = tmp_path / "pictures"
    outside.mkdir()
    (outside / "cat.png").write_bytes(b"cat")
    with RunFolder.create(tmp_path, "burgers", "one") as old:
        old.write_settings({})
        (old.path / "figures").symlink_to(outside)
    RunFolder.create(tmp_path, "burgers", "one", overwrite=True).close()
    assert (outside / "cat.png").read_bytes() == b"cat"


def test_outputs_that_cannot_be_a_folder(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="file"):
        RunFolder.create(file, "burgers", "one")
    with pytest.raises(InputError, match="null"):
        RunFolder.create(Path("a\0b"), "burgers", "one")
    monkeypatch.setattr(Path, "mkdir", fail_with(errno.EROFS))
    with pytest.raises(ResourceError, match="Read-only"):
        RunFolder.create(tmp_path, "burgers", "one")


def test_a_second_writer_is_refused_until_the_first_lets_go(folder, tmp_path):
    for again in (
        lambda: RunFolder.create(tmp_path, "burgers", "one", overwrite=True),
        lambda: RunFolder.resume(folder.path),
    ):
        with pytest.raises(InputError, match=f"process {os.getpid()} on .* is writing"):
            again()
    folder.close()
    assert ".lock" not in names(folder.path)
    RunFolder.resume(folder.path).close()


def run_python(code: str, *arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, **options)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    code = """if True:
        import sys, time
        from pathlib import Path
        from pinnsolve.runs import RunFolder
        folder = RunFolder.create(Path(sys.argv[1]), "burgers", "one")
        folder.write_settings({"seed": 0}); folder.write_problem("")
        print("held", flush=True)
        time.sleep(60)
    """
    with run_python(code, str(tmp_path)) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(InputError, match=f"process {process.pid}"):
                RunFolder.create(tmp_path, "burgers", "one")
        finally:
            process.kill()
    assert (tmp_path / "burgers/one/.lock").exists()
    RunFolder.resume(tmp_path / "burgers/one").close()


# ------------------------------------------------------------------------------- the disk fails


@pytest.mark.parametrize("call", ["replace", "fsync", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failed_write_leaves_the_old_file_and_no_other(folder, monkeypatch, call, number):
    folder.write_metrics({"a": 1})
    before = names(folder.path)
    monkeypatch.setattr(os, call, fail_with(number))
    expected = "cannot be written" if number == errno.EIO else r"\d+ bytes are needed"
    with pytest.raises(ResourceError, match=rf"metrics\.json: .*{expected}"):
        folder.write_metrics({"a": 2})
    monkeypatch.undo()
    assert folder.metrics()["a"] == 1
    assert names(folder.path) == before


def test_an_interrupt_while_writing_leaves_the_old_file_and_no_other(folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    folder.write_metrics({"a": 1})
    before = names(folder.path)
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        folder.write_metrics({"a": 2})
    assert folder.metrics()["a"] == 1
    assert names(folder.path) == before


def test_a_history_row_that_does_not_fit_leaves_no_part_of_itself(folder, monkeypatch):
    folder.append_history(ROW)
    before = (folder.path / "history.csv").read_bytes()
    write, calls = os.write, []

    def short(descriptor, content):
        calls.append(descriptor)
        return write(descriptor, content[:5]) if len(calls) == 1 else fail_with(errno.ENOSPC)()

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(ResourceError, match=r"history\.csv"):
        folder.append_history(ROW)
    assert (folder.path / "history.csv").read_bytes() == before


def test_a_file_size_limit_keeps_the_previous_checkpoint(tmp_path):
    code = """if True:
        import resource, sys
        from pathlib import Path
        import torch
        from pinnsolve.errors import ResourceError
        from pinnsolve.runs import RunFolder, load_newest, save_checkpoint
        folder = RunFolder.create(Path(sys.argv[1]), "burgers", "one")
        save_checkpoint(folder, 1, {"w": torch.ones(10)}, {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            save_checkpoint(folder, 2, {"w": torch.ones(10000)}, {})
        except ResourceError as error:
            print(error.exit_code, load_newest(folder).step, error)
    """
    process = run_python(code, str(tmp_path))
    output, _ = process.communicate(timeout=120)
    assert output.startswith("4 1 ")
    assert "bytes are needed" in output
    assert not list((tmp_path / "burgers/one/checkpoints").glob(".*"))


# ------------------------------------------------------------------------------- checkpoints


def save(folder, step, value=None):
    tensors = {"w": torch.full((3, 2), float(step if value is None else value), dtype=torch.float64)}
    save_checkpoint(folder, step, tensors, {"stage": "lm", "best": float("inf"), "steps": [step]})


def tensor_file(folder, step) -> Path:
    (path,) = (folder.path / "checkpoints").glob(f"step-{step:010d}-*.safetensors")
    return path


def manifest_file(folder, step) -> Path:
    return folder.path / "checkpoints" / f"step-{step:010d}.json"


def test_a_checkpoint_comes_back_bit_by_bit(folder):
    shared = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    tensors = {"a": shared, "b": shared.T, "rng": torch.get_rng_state(), "n": torch.tensor(3), "empty": torch.empty(0)}
    save_checkpoint(folder, 7, tensors, {"best": float("inf"), "nested": {"k": [1, 2.5, None]}})
    loaded = load_newest(folder)
    assert loaded.step == 7
    assert loaded.state == {"best": float("inf"), "nested": {"k": [1, 2.5, None]}}
    assert loaded.settings_digest == folder.settings_digest() != ""
    assert loaded.warnings == ()
    assert set(loaded.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_the_last_two_checkpoints_stay(folder):
    for step in (1, 2, 30):
        save(folder, step)
    (folder.path / "checkpoints" / ".left-over.tmp").write_bytes(b"x")
    save(folder, 4)  # a resumed run: step 30 is a future that was given up
    assert len(names(folder.path / "checkpoints")) == 4
    assert load_newest(folder).step == 4
    tensor_file(folder, 4).unlink()
    assert load_newest(folder).step == 2


def test_the_same_step_saved_again_replaces_it(folder):
    save(folder, 1, 5.0)
    save(folder, 1, 6.0)
    assert load_newest(folder).tensors["w"][0, 0] == 6.0
    assert len(names(folder.path / "checkpoints")) == 2


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("which", [tensor_file, manifest_file])
def test_a_truncated_checkpoint_falls_back_with_a_warning(folder, part, which):
    save(folder, 1)
    save(folder, 2)
    path = which(folder, 2)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    loaded = load_newest(folder)
    assert loaded.step == 1
    assert len(loaded.warnings) == 1
    assert path.name in loaded.warnings[0]


@pytest.mark.parametrize("which", [tensor_file, manifest_file])
def test_any_flipped_byte_is_noticed(folder, which):
    save(folder, 1)
    save(folder, 2)
    path = which(folder, 2)
    content = path.read_bytes()
    for position in range(0, len(content), max(len(content) // 40, 1)):
        flipped = bytearray(content)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        assert load_newest(folder).step == 1, position


def test_without_a_valid_checkpoint_each_fault_is_told(folder):
    with pytest.raises(RunFolderError, match="there is none: the run ended before its first one"):
        load_newest(folder)
    save(folder, 1)
    manifest_file(folder, 1).write_text("{}")
    with pytest.raises(RunFolderError, match=r"step-0000000001\.json: damaged manifest"):
        load_newest(folder)


def forge(folder, content: bytes):
    """Write a checkpoint whose digests are right and whose tensor file is hostile."""
    import hashlib

    from pinnsolve.runs.checkpoints import _digest, _tensor_file

    save(folder, 1)
    digest = hashlib.sha256(content).hexdigest()
    manifest = json.loads(manifest_file(folder, 1).read_text())
    manifest.pop("sha256")
    manifest |= {"step": 2, "tensors_sha256": digest, "tensors_bytes": len(content)}
    manifest_file(folder, 2).write_text(json.dumps({**manifest, "sha256": _digest(manifest)}))
    _tensor_file(folder.path / "checkpoints", 2, digest).write_bytes(content)


def with_header(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a header of 0 bytes"),
        ((2**63).to_bytes(8, "little") + b"{}", "a header of 9223372036854775808 bytes"),
        (with_header(b"{" + b" " * 2**20 + b"}"), "a header of 1048578 bytes"),
        (with_header(b"[" * 50_000), "not JSON"),
        (with_header(json.dumps({f"{i}": 0 for i in range(MAX_TENSORS + 1)}).encode()), "at most 10000 tensors"),
        (
            with_header(b'{"w":{"dtype":"F64","shape":[1000000000],"data_offsets":[0,8]}}') + bytes(8),
            "not a safetensors",
        ),
        (with_header(b'{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}') + b"\xff" * 8, "'w' is not finite"),
        (b"\x80\x04\x95pickle payload", "a header of"),
    ],
)
def test_hostile_tensor_files_are_refused(folder, content, reason):
    forge(folder, content)
    loaded = load_newest(folder)
    assert loaded.step == 1
    assert reason in loaded.warnings[0]


def test_tensors_that_are_not_finite_are_not_saved(folder):
    save(folder, 1)
    with pytest.raises(DivergenceError, match=r"'w' is not finite at step 2"):
        save(folder, 2, float("nan"))
    assert load_newest(folder).step == 1


def test_more_tensors_than_are_read_are_not_written(folder):
    with pytest.raises(ValueError, match=f"at most {MAX_TENSORS}"):
        save_checkpoint(folder, 1, dict.fromkeys(map(str, range(MAX_TENSORS + 1)), torch.ones(1)), {})


def test_a_killed_process_leaves_a_checkpoint_that_loads(tmp_path):
    code = """if True:
        import sys
        from pathlib import Path
        import torch
        from pinnsolve.runs import RunFolder, save_checkpoint
        folder = RunFolder.create(Path(sys.argv[1]), "burgers", "one")
        folder.write_settings({}); folder.write_problem("")
        for step in range(10**6):
            save_checkpoint(folder, step, {"w": torch.full((20000,), float(step))}, {})
            if step == 2: print("saving", flush=True)
    """
    with run_python(code, str(tmp_path)) as process:
        assert process.stdout.readline() == "saving\n"
        time.sleep(0.237)
        process.send_signal(signal.SIGKILL)
    folder = RunFolder.resume(tmp_path / "burgers/one")
    loaded = load_newest(folder)
    assert loaded.tensors["w"].tolist() == [float(loaded.step)] * 20000
    save(folder, loaded.step + 1)
    assert not [name for name in names(folder.path / "checkpoints") if name.startswith(".")]
    folder.close()


def test_importing_runs_imports_no_torch():
    code = "import sys, pinnsolve.runs; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    process = run_python(code)
    assert process.communicate(timeout=60)[0] == "False False\n"


def test_left_over_temporaries_are_told_from_other_files(tmp_path):
    for name in (".a.tmp", "b.tmp", ".hidden"):
        (tmp_path / name).write_text("")
    atomic.remove_temporaries(tmp_path)
    assert names(tmp_path) == {"b.tmp", ".hidden"}
