"""The trial solution as a program of its own, which runs without this package."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pinnsolve.errors import ResourceError, SettingsError
from pinnsolve.networks.piecewise import PiecewiseAnsatz

_ARITHMETIC = {
    f"{prefix}{name}{suffix}"
    for name in ("add", "sub", "mul", "truediv", "div", "rsub", "pow")
    for prefix, suffix in (("", ""), ("__", "__"), ("__r", "__"))
}
EXAMPLE_POINTS = 7  # any number above one: the exported program takes any number of points


class FieldsOfPoints(nn.Module):
    """Points (N, d) ↦ fields (N, F), in the order of the problem file.

    Args:
        ansatz: the trial solution; of several windows of time, all are evaluated and the right one is chosen, since
            a program without branches takes any points.
        fields: names.
    """

    def __init__(self, ansatz: nn.Module, fields: Sequence[str]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(ansatz.parts if isinstance(ansatz, PiecewiseAnsatz) else [ansatz])
        self.names = list(fields)
        edges = ansatz.edges[1:-1] if isinstance(ansatz, PiecewiseAnsatz) else ()
        self.axis = ansatz.axis if isinstance(ansatz, PiecewiseAnsatz) else 0
        self.joints = list(edges)[: len(self.parts)]

    def forward(self, points: Tensor) -> Tensor:
        """Return the fields (N, F) at points (N, d)."""
        with _ExactNumbers(points.dtype):
            return self._fields(points)

    def _fields(self, points: Tensor) -> Tensor:
        found = self._values(self.parts[0], points)
        for joint, part in zip(self.joints, list(self.parts)[1:], strict=False):
            found = torch.where(points[:, self.axis, None] > joint, self._values(part, points), found)
        if len(self.joints) >= len(self.parts):  # later windows were not reached: there is no solution
            beyond = points[:, self.axis, None] > self.joints[len(self.parts) - 1]
            found = torch.where(beyond, torch.full_like(found, float("nan")), found)
        return found

    def _values(self, part: nn.Module, points: Tensor) -> Tensor:
        values = part(points)
        return torch.stack([values[name] for name in self.names], 1)


class _ExactNumbers(TorchFunctionMode):
    """Makes tensors of the numbers in arithmetic: ONNX would round what is a plain number to float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _ARITHMETIC:
            args = tuple(torch.tensor(a, dtype=self._dtype) if isinstance(a, float) else a for a in args)
        return func(*args, **(kwargs or {}))


def exported_program(ansatz: nn.Module, fields: Sequence[str], example: Tensor) -> Any:
    """Return the solution as a `torch.export` program of any number of points.

    Args:
        ansatz: the trial solution, on the CPU.
        fields: names of its outputs' columns.
        example: points (EXAMPLE_POINTS, d) in the ansatz's precision.

    Raises:
        SettingsError: a part of it cannot be exported.
    """
    module = FieldsOfPoints(ansatz, fields).eval()
    points = torch.export.Dim("points", min=1)
    try:
        with torch.no_grad():
            return torch.export.export(module, (example,), dynamic_shapes=({0: points},))
    except Exception as error:  # torch.export has no common root of its faults
        raise SettingsError(f"this solution cannot be exported: {str(error).strip().splitlines()[0][:300]}") from error


def program_bytes(program: Any, about: dict[str, Any]) -> bytes:
    """Return the program as a .pt2 archive with a description, which `torch.export.load` reads."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"about.json": json.dumps(about)})
    return buffer.getvalue()


def onnx_bytes(program: Any) -> bytes:
    """Return the program as ONNX.

    Raises:
        ResourceError: the packages of the extra `onnx` are not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ResourceError(f"ONNX needs the extra: pip install 'pinnsolve[onnx]' ({error})") from None
    converted = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["points"], output_names=["fields"])
    assert converted is not None  # a file name would make it so
    content: bytes = converted.model_proto.SerializeToString()
    return content
