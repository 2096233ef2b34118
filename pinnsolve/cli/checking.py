"""`check`: what can be known of problems before training, and what their solutions will be measured against."""

from __future__ import annotations

import json as json_text
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinnsolve.cli.terminal import say
from pinnsolve.errors import ProblemError, RequirementError, SettingsError
from pinnsolve.problems import load_problem, problem_files
from pinnsolve.problems.finding import Finding

if TYPE_CHECKING:
    from pinnsolve.problems import Problem
    from pinnsolve.references import ReferenceSolution

LARGE_ERROR = 1e-6  # of a reference


def check_command(
    names: Sequence[str], folder: Path | None, options: dict[str, Any], json: bool, references: bool = False
) -> None:
    """Check problems, with the settings that these options name; exit 6 if one has an error.

    Args:
        names: of problems; none for the whole folder, where a file that cannot be read is a finding too.
        folder: of the problem files.
        options: of `solve`, as they stand on the command line.
        json: print one object, else each problem when it is done.
        references: compute the references that are not in the cache.
    """
    results = {}
    for name, found in _checked(names, folder, options, references):
        results[name] = found
        if not json:
            _print_findings(name, found)
    if json:
        say(
            json_text.dumps({name: [asdict(finding) for finding in found] for name, found in results.items()}, indent=1)
        )
    failed = [name for name, found in results.items() if any(finding.level == "error" for finding in found)]
    if failed:
        raise RequirementError(f"check failed for {', '.join(failed)}")


def _checked(
    names: Sequence[str], folder: Path | None, options: dict[str, Any], references: bool
) -> Iterator[tuple[str, list[Finding]]]:
    for problem in [load_problem(name, folder) for name in names]:
        yield problem.name, _findings(problem, options, references)
    for path in [] if names else problem_files(folder):
        try:
            yield path.stem, _findings(load_problem(path), options, references)
        except ProblemError as error:
            yield path.stem, [_unusable(error)]
        except SettingsError as error:
            yield path.stem, [Finding("error", "solve", str(error), "correct the file")]


def _unusable(error: ProblemError) -> Finding:
    return Finding("error", error.key or "file", str(error), error.remedy or "correct the file")


def _findings(problem: Problem, options: dict[str, Any], references: bool) -> list[Finding]:
    from pinnsolve.networks import activation, derive_constraints
    from pinnsolve.networks.smoothness import smoothness_note
    from pinnsolve.problems.formulation import formulated
    from pinnsolve.problems.lint import lint
    from pinnsolve.solving.settings import named_options, problem_settings

    found = lint(problem)
    settings = problem_settings(problem, named_options(options))
    posed = formulated(problem, settings.formulation)
    phi = activation(settings.network.trained_activation, settings.network.alpha)
    try:
        note = smoothness_note(posed, phi, allow_rough=settings.allow_rough)
        if note:
            found.append(Finding("warning", "network.activation", note, "use another activation or formulation"))
    except SettingsError as error:
        found.append(Finding("error", "network.activation", str(error), "use another activation or formulation"))
    for note in derive_constraints(posed, settings.constraints).notes:
        found.append(Finding("warning", "conditions", note, "nothing, if this is what the problem says"))
    return [*found, _reference_finding(problem, references)]


def _reference_finding(problem: Problem, compute: bool) -> Finding:
    """Return what the problem's reference is and how far it can be trusted, or why there is none."""
    from pinnsolve.references import applicable, find_reference, known_reference, obstacle

    try:
        reference = find_reference(problem) if compute else known_reference(problem)
    except ProblemError as error:
        return Finding("error", error.key, error.message, "correct the file of values")
    if reference is not None:
        return _quality(reference)
    if problem.reference.solver == "none":
        return Finding("note", "reference", "none", "")
    solvers = [] if compute else applicable(problem)
    if solvers:
        return Finding("note", "reference", f"{solvers[0].name}, not computed yet", "pinnsolve check --references")
    message, remedy = obstacle(problem)
    return Finding("warning", "reference", f"none: {message}", remedy)


def _quality(reference: ReferenceSolution) -> Finding:
    from pinnsolve.references.refinement import largest

    error = largest(reference.errors)
    if reference.solver == "exact":
        return Finding("note", "reference", "exact", "")
    if math.isnan(error):
        message = f"{reference.solver}, its own error is not known"
        return Finding("warning", "reference", message, "say in the file how large it is: [reference] error = 1e-6")
    took = f", {reference.seconds:.2g} s" if reference.seconds else ""
    message = f"{reference.solver}, error {error:.1e}{took}"
    if error <= LARGE_ERROR:
        return Finding("note", "reference", message, "")
    return Finding("warning", "reference", message, "smaller errors of a solution than this say nothing")


def _print_findings(name: str, found: Sequence[Finding]) -> None:
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    notes = "".join(f"; {finding.key} {finding.message}" for finding in found if finding.level == "note")
    counted = f", {warnings} warning{'s'[: warnings - 1]}" if warnings else ""
    say(f"{name}: {'FAILED' if errors else 'ok'}{counted}{notes}")
    for finding in found:
        if finding.level != "note":
            say(f"  {finding.level}: {finding.key}: {finding.message}\n    -> {finding.remedy}")
