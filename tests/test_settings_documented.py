"""Every setting stands in the README."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnsolve.solving.settings import all_keys

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("key", all_keys())
def test_the_setting_stands_in_the_readme(key):
    assert f"`{key}`" in README
