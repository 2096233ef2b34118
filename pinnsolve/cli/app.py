"""The commands. Everything heavy is imported inside them, so that help and lists come at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pinnsolve.cli.examples import FIRST_STEPS, examples
from pinnsolve.cli.options import folder_name, with_settings

app = typer.Typer(
    name="pinnsolve",
    help="Solve differential equations with physics-informed neural networks, and audit the derivatives.",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Folder = Annotated[Path | None, typer.Option("--problems", help="Folder of problem files.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
NamedSettings = dict[str, Any]  # by option; None where it was not given
Mlflow = Annotated[str | None, typer.Option("--mlflow", help="URI of an MLflow store to log to.")]
Outputs = Annotated[Path, typer.Option("--output", "-o", help="Folder of run folders.", parser=folder_name)]
Run = Annotated[str, typer.Argument(help="Folder of a run, or problem/run below the outputs.", metavar="RUN")]


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Solve differential equations with physics-informed neural networks, and audit the derivatives."""
    if version:
        from importlib.metadata import version as installed

        from pinnsolve.cli.terminal import say

        say(f"pinnsolve {installed('pinnsolve')}")
        raise typer.Exit


@app.command("list", epilog=examples("list"))
def list_problems(problems: Folder = None, json: Json = False) -> None:
    """List the problems, one line each."""
    from pinnsolve.cli.browsing import list_command

    list_command(problems, json)


@app.command(epilog=examples("show"))
def show(
    problem: Annotated[str, typer.Argument(help="Name or path of a problem.")],
    problems: Folder = None,
    latex: Annotated[bool, typer.Option("--latex", help="Equations as LaTeX.")] = False,
) -> None:
    """Show a problem: equations, conditions, reference, default settings."""
    from pinnsolve.cli.browsing import show_command

    show_command(problem, problems, latex)


@app.command(epilog=examples("new"))
def new(
    name: Annotated[str, typer.Argument(help="Name of the problem; the file is NAME.toml.")],
    source: Annotated[str | None, typer.Option("--from", help="Start from a copy of this problem.")] = None,
    like: Annotated[
        str | None, typer.Option(help="Kind to start from: ode, 1d-time, 2d-steady; default 1d-time.")
    ] = None,
    problems: Folder = None,
) -> None:
    """Write a commented problem file to start from."""
    from pinnsolve.cli.browsing import new_command

    new_command(name, problems, source, like)


@app.command(epilog=examples("check"))
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or paths; all problems if none.", metavar="PROBLEM...")
    ] = None,
    problems: Folder = None,
    activation: Annotated[str | None, typer.Option(help="Check this activation's smoothness.")] = None,
    formulation: Annotated[str | None, typer.Option(help="direct, first-order: what is asked of smoothness.")] = None,
    allow_rough: Annotated[
        bool, typer.Option("--allow-rough", help="Warn of an activation that is not smooth enough, no more.")
    ] = False,
    references: Annotated[
        bool, typer.Option("--references", help="Compute references that are not in the cache, and tell their errors.")
    ] = False,
    json: Json = False,
) -> None:
    """Check problem files: well-posedness, the reference and its error, smoothness of the activation."""
    from pinnsolve.cli.checking import check_command

    options = {"activation": activation, "formulation": formulation, "allow_rough": allow_rough or None}
    check_command(names or [], problems, options, json, references=references)


@app.command(epilog=examples("solve"))
@with_settings()
def solve(
    problem: Annotated[str, typer.Argument(help="Name or path of a problem.")],
    settings: NamedSettings,
    allow_rough: Annotated[
        bool, typer.Option("--allow-rough", help="Train an activation that is not smooth enough.")
    ] = False,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="Any setting, key=value; repeatable.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    problems: Folder = None,
    output: Outputs = Path("outputs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run of this name.")] = False,
    require_error: Annotated[
        float | None, typer.Option(help="Exit 6 unless the relative L2 error is at most this.")
    ] = None,
    mlflow: Mlflow = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Solve a problem: train, evaluate, audit, write the run folder, print the summary."""
    from pinnsolve.cli.solving import SolveRequest, solve_command

    options = settings | {"allow_rough": allow_rough or None}
    solve_command(
        SolveRequest(problem, options, assignments or [], config, problems),
        output=output,
        name=name,
        overwrite=overwrite,
        require_error=require_error,
        tracking=mlflow,
        json=json,
        quiet=quiet or json,
    )


@app.command(epilog=examples("compare"))
@with_settings(lists=True)
def compare(
    settings: NamedSettings,
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or paths, separated by spaces or commas.", metavar="PROBLEM...")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds: 3 is the seeds 0, 1 and 2.")] = None,
    grid: Annotated[list[str] | None, typer.Option("--grid", help="Any setting, key=a,b,c; repeatable.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="A setting of all runs, key=value.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of a grid, for large ones.")] = None,
    preset: Annotated[str | None, typer.Option(help="A ready-made batch: activations, engines, optimizers.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes; one per core or GPU.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://...")] = None,
    target: Annotated[float | None, typer.Option(help="Count the seconds to this error; default 1e-3.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the grid and how long it takes at most.")] = False,
    problems: Folder = None,
    output: Outputs = Path("outputs"),
    name: Annotated[str | None, typer.Option(help="Name of the comparison; one that exists is continued.")] = None,
    mlflow: Mlflow = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare settings, engines and seeds over problems: a grid of runs, with statistics.

    Options of settings take lists with commas: --activation elu,tanh,gelu.
    """
    from pinnsolve.cli.comparing import CompareRequest, Output, Place, compare_command

    request = CompareRequest(names or [], settings, seeds, grid or [], assignments or [], config, preset, problems)
    compare_command(request, Place(jobs, scheduler), Output(output, name, target, json, quiet or json, dry_run, mlflow))


@app.command(epilog=examples("resume"))
def resume(
    run: Run,
    steps: Annotated[int | None, typer.Option(help="Largest number of steps, counted from the start.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of training, counted from the start.")] = None,
    output: Outputs = Path("outputs"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run from its last checkpoint."""
    from pinnsolve.cli.solving import resume_command

    resume_command(run, output, steps=steps, time_limit=time_limit, json=json, quiet=quiet or json)


@app.command(epilog=examples("audit"))
def audit(
    run: Run,
    fail_on: Annotated[
        str, typer.Option(help="Exit 6 on these: verdicts and column>number, e.g. 'derivative mismatch,decision>1'.")
    ] = "",
    output: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """Audit the derivatives of a finished run: finite differences against automatic differentiation."""
    from pinnsolve.cli.inspecting import audit_command

    audit_command(run, output, json, fail_on)


@app.command(epilog=examples("report"))
def report(
    run: Run,
    animated: Annotated[
        bool, typer.Option("--animate", help="Also the solution over time: GIF, and MP4 with ffmpeg.")
    ] = False,
    output: Outputs = Path("outputs"),
) -> None:
    """Draw the figures and the HTML report of a run or a comparison anew, from saved numbers alone."""
    from pinnsolve.cli.inspecting import report_command

    report_command(run, output, animated)


@app.command(epilog=examples("export"))
def export(
    run: Run,
    to: Annotated[
        Path | None, typer.Option(help="File, .pt2 or .onnx; default solution.pt2 in the run's folder.")
    ] = None,
    output: Outputs = Path("outputs"),
) -> None:
    """Export the solution of a run as a program that needs no pinnsolve: torch.export or ONNX."""
    from pinnsolve.cli.exporting import export_command

    export_command(run, output, to)


@app.command(epilog=examples("predict"))
def predict(
    run: Run,
    grid: Annotated[str | None, typer.Option(help="Points per coordinate, e.g. 101,51.")] = None,
    points: Annotated[Path | None, typer.Option(help="CSV file with one column per coordinate.")] = None,
    derivatives: Annotated[str, typer.Option(help="Comma list of derivatives, e.g. u_x,u_xx.")] = "",
    format: Annotated[str, typer.Option(help="csv, npz, vtk.")] = "csv",
    to: Annotated[Path | None, typer.Option(help="File to write; stdout if none (csv only).")] = None,
    output: Outputs = Path("outputs"),
) -> None:
    """Evaluate the fields and derivatives of a run on a grid or at points."""
    from pinnsolve.cli.inspecting import PredictRequest, predict_command

    predict_command(PredictRequest(run, output, grid, points, derivatives, format, to))


@app.command(epilog=examples("doctor"))
def doctor(json: Json = False) -> None:
    """Say what this installation can do: versions, device, precision, DeepXDE, self-test."""
    from pinnsolve.cli.diagnosis import doctor_command

    doctor_command(json)


@app.command(epilog=examples("activations"))
def activations(
    activation: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None,
    alpha: Annotated[float, typer.Option(help="Parameter of elu and celu.")] = 1.0,
    network: Annotated[
        str | None, typer.Option(help="DEPTHxWIDTH, e.g. 8x64: how signals pass an untrained network.")
    ] = None,
    inputs: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Inputs of that network; as wide if not given.")
    ] = None,
    initialization: Annotated[str, typer.Option(help="auto, glorot, he, lecun, siren.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of its weights and inputs.")] = 0,
    figure: Annotated[Path | None, typer.Option(help="Draw this file as well: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Measure the activations: smoothness, range, moments, inverses; or signals in an untrained network."""
    from pinnsolve.cli.activations import NetworkRequest, activations_command, propagation_command

    if network is None:
        activations_command(activation, alpha, figure, json)
    else:
        propagation_command(NetworkRequest(network, inputs, initialization, seed), activation, alpha, figure, json)
