"""The help: every command shows examples to copy, and they are command lines that it takes."""

from __future__ import annotations

import shlex

import pytest
from typer.main import get_command

from pinnsolve.cli import run
from pinnsolve.cli.app import app
from pinnsolve.cli.examples import EXAMPLES, FIRST_STEPS

COMMANDS = get_command(app).commands


def test_every_command_has_examples():
    assert list(EXAMPLES) == list(COMMANDS)


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_help_shows_the_examples_as_they_are_typed(command, capsys):
    assert run([command, "--help"]) == 0
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert set(EXAMPLES[command]) <= set(shown)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_each_example_is_a_command_line_that_is_understood(line):
    program, command, *arguments = shlex.split(line, posix=True)
    assert program == "pinnsolve"
    COMMANDS[command].make_context(command, arguments)  # a usage error is raised here; nothing is run


def test_the_first_steps_name_commands_that_exist(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    steps = [line.split()[1] for line in FIRST_STEPS.splitlines() if line.startswith("  pinnsolve")]
    assert steps == ["list", "solve", "new", "COMMAND"]
    assert {"list", "solve", "new"} <= set(COMMANDS)
    assert all(line in shown for line in FIRST_STEPS.splitlines()[1:])
