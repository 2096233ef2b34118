"""`export`: the solution of a run as a program that needs no pinnsolve."""

from __future__ import annotations

from pathlib import Path

from pinnsolve.cli.terminal import say
from pinnsolve.errors import InputError

FORMATS = {".pt2": "torch.export", ".onnx": "ONNX"}


def export_command(run: str, outputs: Path, to: Path | None) -> None:
    """Write a run's solution as a .pt2 or .onnx file; into the run's folder if no file is named."""
    import torch

    from pinnsolve.evaluation import scattered_points
    from pinnsolve.networks.exporting import EXAMPLE_POINTS, exported_program, onnx_bytes, program_bytes
    from pinnsolve.runs import RunFolder, recording
    from pinnsolve.runs.atomic import write_atomically

    folder = RunFolder.open(recording.run_path(run, outputs))
    path = to or folder.path / "solution.pt2"
    if path.suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise InputError(f"--to {path}: the end of the name tells the format, got {path.suffix!r}; known: {known}")
    session = recording.load_trained(folder)
    problem, ansatz = session.problem, session.ansatz.to("cpu")
    dtype = next(ansatz.parameters()).dtype
    example = torch.as_tensor(scattered_points(problem, 8)[:EXAMPLE_POINTS], dtype=dtype)
    program = exported_program(ansatz, problem.field_names, example)
    about = {
        "problem": problem.name,
        "inputs": list(problem.coordinate_names),
        "outputs": list(problem.field_names),
        "box": [end.tolist() for end in problem.box],
        "dtype": str(dtype).removeprefix("torch."),
        "run": folder.name,
    }
    content = onnx_bytes(program) if path.suffix == ".onnx" else program_bytes(program, about)
    write_atomically(path, content)
    inputs, outputs_ = ", ".join(problem.coordinate_names), ", ".join(problem.field_names)
    say(f"{path}: points (N, {len(problem.coordinates)}) of {inputs} to fields (N, {len(problem.fields)}): {outputs_}")
