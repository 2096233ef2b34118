"""Time-dependent solutions in motion: GIF through Pillow, MP4 where ffmpeg or the package imageio-ffmpeg is there."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pinnsolve.errors import InputError
from pinnsolve.report.legends import legend_below
from pinnsolve.report.problem_copy import problem_table, units
from pinnsolve.report.solution_figure import Quantity
from pinnsolve.report.style import (
    REFERENCE_COLOR,
    SOLUTION_COLOR,
    figure_style,
    label,
    linear_limits,
    new_figure,
    symbol,
)
from pinnsolve.runs import RunFolder

FRAMES, FRAMES_PER_SECOND = 60, 15
RESOLUTION = 110  # dots per inch


def animate(folder: RunFolder) -> list[Path]:
    """Draw every field of a run over time into its folder; return the files.

    Raises:
        InputError: the solution is not one of a single space coordinate and time.
    """
    metrics, solution = folder.metrics(), folder.solution()
    names = [str(name) for name in solution["coordinates"]]
    time = metrics.get("time")
    if time not in names or len(names) != 2 or f"axis_{time}" not in solution:
        shown = ", ".join(names)
        raise InputError(f"--animate needs a solution over one space coordinate and time; this one is over {shown}")
    written = []
    known_units = units(problem_table(folder))
    with figure_style():
        for field in metrics["fields"]:
            quantity = Quantity(field, known_units.get(field, ""))
            frames = list(_frames(quantity, solution, names, str(time)))
            for kind, content in _films(frames).items():
                written.append(folder.write_figure(f"animation_{label(field)}.{kind}", content))
    return written


def _frames(
    quantity: Quantity, solution: Mapping[str, NDArray[Any]], names: list[str], time: str
) -> Iterator[NDArray[np.uint8]]:
    """Yield frames (height, width, 3): the field and its reference over space, at evenly spaced times."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    space = next(name for name in names if name != time)
    x, times = solution[f"axis_{space}"], solution[f"axis_{time}"]
    keys = quantity.field, f"{quantity.field}_reference"
    values, reference = (_time_first(solution.get(key), names, time) for key in keys)
    assert values is not None
    low, high = linear_limits(values, *([] if reference is None else [reference]))
    room = 0.06 * (high - low)
    figure: Figure = new_figure(4.6, 3.0)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(RESOLUTION)
    axes = figure.subplots()
    axes.set(xlim=(x[0], x[-1]), ylim=(low - room, high + room), xlabel=symbol(space), ylabel=quantity.named())
    axes.grid(True)
    if reference is not None:
        (truth,) = axes.plot(x, reference[0], color=REFERENCE_COLOR, linewidth=2.6, alpha=0.35, label="reference")
    (line,) = axes.plot(x, values[0], color=SOLUTION_COLOR, label="network")
    legend_below(figure, axes.get_legend_handles_labels()[0])
    for index in np.unique(np.linspace(0, len(times) - 1, FRAMES).astype(int)):
        line.set_ydata(values[index])
        if reference is not None:
            truth.set_ydata(reference[index])
        axes.set_title(f"{label(time)} = {_moment(times[index], times[-1] - times[0])}")
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _moment(time: float, span: float) -> str:
    """Return a time to a thousandth of the whole span or better, all with as many digits.

    >>> _moment(0.25, 1.0), _moment(3e-6, 1e-5), _moment(1234.0, 2e4)
    ('0.250', '0.00000300', '1234')
    """
    decimals = 3 - math.floor(math.log10(span)) if span > 0 else 3
    return f"{time:.{min(max(decimals, 0), 15)}f}"


def _time_first(values: NDArray[Any] | None, names: list[str], time: str) -> NDArray[Any] | None:
    return None if values is None else np.moveaxis(values, names.index(time), 0)


def _films(frames: list[NDArray[np.uint8]]) -> dict[str, bytes]:
    films = {"gif": _gif(frames)}
    program = encoder()
    if program is not None:
        films["mp4"] = _mp4(frames, program)
    return films


def encoder() -> str | None:
    """Return the path of ffmpeg: that of the system, else that of imageio-ffmpeg; None if there is neither."""
    program = shutil.which("ffmpeg")
    if program is None:
        with contextlib.suppress(ImportError, RuntimeError):  # not installed, or not for this machine
            from imageio_ffmpeg import get_ffmpeg_exe

            program = str(get_ffmpeg_exe())
    return program


def _gif(frames: list[NDArray[np.uint8]]) -> bytes:
    from PIL import Image

    images = [Image.fromarray(frame).convert("P", palette=Image.Palette.ADAPTIVE) for frame in frames]
    buffer = io.BytesIO()
    duration = round(1000 / FRAMES_PER_SECOND)
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return buffer.getvalue()


def _mp4(frames: list[NDArray[np.uint8]], program: str) -> bytes:
    import subprocess

    height, width = (2 * (size // 2) for size in frames[0].shape[:2])  # the codec wants even sizes
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "film.mp4"
        command = [program, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        command += ["-r", str(FRAMES_PER_SECOND), "-i", "-", "-pix_fmt", "yuv420p", str(path)]
        data = b"".join(np.ascontiguousarray(frame[:height, :width]).tobytes() for frame in frames)
        subprocess.run(command, input=data, check=True, capture_output=True)
        return path.read_bytes()
