"""Problems: text files in, symbolic boundary and initial value problems out."""

from pinnsolve.problems.library import load_problem, problem_files
from pinnsolve.problems.loading import load_problem_file
from pinnsolve.problems.partials import Partial
from pinnsolve.problems.problem import Condition, Coordinate, Face, Field, Problem, Residual

__all__ = [
    "Condition",
    "Coordinate",
    "Face",
    "Field",
    "Partial",
    "Problem",
    "Residual",
    "load_problem",
    "load_problem_file",
    "problem_files",
]
