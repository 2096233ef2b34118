"""What the help of each command shows to copy."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "list": ("pinnsolve list",),
    "show": ("pinnsolve show burgers",),
    "new": ("pinnsolve new rod", "pinnsolve new rod --like ode", "pinnsolve new rod --from heat"),
    "check": ("pinnsolve check burgers", "pinnsolve check rod.toml --references"),
    "solve": (
        "pinnsolve solve burgers --time-limit 60",
        "pinnsolve solve rod.toml --activation gelu --name first",
        "pinnsolve solve heat --set training.points=2048 --require-error 1e-6",
    ),
    "compare": (
        "pinnsolve compare burgers,heat --activation elu,tanh,gelu --seeds 3",
        "pinnsolve compare burgers --engine native,deepxde --time-limit 60 --dry-run",
    ),
    "resume": ("pinnsolve resume burgers/first --time-limit 120",),
    "audit": ("pinnsolve audit burgers/first", "pinnsolve audit outputs/burgers/first --fail-on 'decision>1'"),
    "report": ("pinnsolve report burgers/first --animate", "pinnsolve report outputs/comparisons/NAME"),
    "export": ("pinnsolve export burgers/first --to burgers.onnx",),
    "predict": (
        "pinnsolve predict burgers/first --grid 101,51 --derivatives u_x,u_xx --to burgers.csv",
        "pinnsolve predict burgers/first --grid 101,51 --format vtk --to burgers.vtk",
    ),
    "doctor": ("pinnsolve doctor",),
    "activations": ("pinnsolve activations --activation elu,tanh", "pinnsolve activations --network 8x64"),
}
_KEPT_LINES = "\b\n"  # click wraps a paragraph unless it begins so
FIRST_STEPS = (
    _KEPT_LINES
    + "First steps:\n"
    + "  pinnsolve list\n"
    + "  pinnsolve solve burgers --time-limit 60\n"
    + "  pinnsolve new rod          a problem of your own\n"
    + "  pinnsolve COMMAND --help   options and examples"
)


def examples(command: str) -> str:
    """Return the examples of a command as they stand below its options."""
    lines = EXAMPLES[command]
    return _KEPT_LINES + "\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *(f"  {line}" for line in lines)])
