"""Every setting stands in the README."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnsolve.cli.options import NAMED
from pinnsolve.solving.settings import SHORT_NAMES, all_keys

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("key", all_keys())
def test_the_setting_stands_in_the_readme(key):
    assert f"`{key}`" in README


def test_every_setting_with_a_short_name_is_an_option_of_solve_and_compare():
    assert set(NAMED) | {"allow_rough"} == set(SHORT_NAMES)  # a flag of solve alone
