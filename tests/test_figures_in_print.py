"""Every figure, reduced to one column of a journal, has letters of 6 points, and nothing of it is cut off."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text

from pinnsolve.networks import activation
from pinnsolve.networks.propagation import LayerSignal
from pinnsolve.report.activation_figure import activation_figure, propagation_figure
from pinnsolve.report.captions import AUDIT_FIGURES, alternative, caption
from pinnsolve.report.comparison_figures import comparison_figures
from pinnsolve.report.derivative_figure import leading_ratio_figure, v_curves_figure
from pinnsolve.report.difference_map import difference_map_figure, distribution_figure
from pinnsolve.report.error_budget_figure import cost_figure, error_budget_figure
from pinnsolve.report.grid_maps import Grid
from pinnsolve.report.history_figure import history_figure
from pinnsolve.report.legends import legend_columns
from pinnsolve.report.residual_figure import residual_figure
from pinnsolve.report.solution_figure import solution_figure
from pinnsolve.report.style import curve_limits, figure_style

from .test_audit_figures import BOX, costs, curve, maps
from .test_pages import group, summary
from .test_report import columns, derivatives, history

COLUMN = 8.5 / 2.54  # inches
LINE = np.linspace(0.0, 1.0, 40)
HILL = np.sin(np.pi * LINE)[:, None] * np.sin(2 * np.pi * LINE)[None, :30] + 0.1
SPACE_TIME = Grid(("x", "t"), (LINE, LINE[:30]), "t")
PLANE = Grid(("x", "y"), (3 * LINE, LINE[:30]))
METHODS = [
    f"{kind}, {formulation}" for kind in ("elu", "celu", "tanh", "gelu") for formulation in ("direct", "first-order")
]
MANY = ("forward", "backward", "one_sided", "central2", "central4", "central6", "taylor", "autograd")


@pytest.fixture(autouse=True)
def _style():
    with figure_style():
        yield


def audits():
    terms = ("u_x", "u_t", "u_xx", "v_x", "v_xxxx")
    rows = [{**row, "truncation": row["fd_vs_ad"], "rounding": 1e-300, "leading_ratio": 1.0} for row in derivatives()]
    rows += [row for term in terms for dtype in ("float64", "float32") for row in curve(term, dtype=dtype)]
    best = [{**row, "ad_error": 3e-16} for row in rows if row["best"]]
    priced = [{**costs(term)[0], "method": m, "microseconds": 1.0 + i} for term in terms for i, m in enumerate(MANY)]
    found = {**maps(), **maps(term="v_xxxx")}
    yield from (v_curves_figure(rows, best), leading_ratio_figure(rows), error_budget_figure(rows))
    yield from (cost_figure(best, priced), difference_map_figure(found, BOX, "t"), distribution_figure(found))
    yield difference_map_figure(maps(dimension=1), {"x": (-1.0, 1.0)}, None)


def solutions():
    for grid in (SPACE_TIME, PLANE):
        yield from (
            solution_figure("u", 1e4 * HILL, 1e4 * HILL + 1e-9, grid, "mV"),
            solution_figure("u", HILL, None, grid),
        )
        yield residual_figure({"momentum_x": HILL, "momentum_y": HILL, "continuity": HILL}, grid, None)
    one, many = Grid(("t",), (LINE,), "t"), Grid(tuple("abcde"), ())
    for grid in (one, many):
        yield from (solution_figure("u", LINE, LINE + 1e-9, grid, "mV"), solution_figure("pressure", LINE, None, grid))
        yield residual_figure({"lorenz_x": LINE}, grid, LINE[:, None])
    yield history_figure(columns(list(history(60))), 1e-5)


def comparisons():
    groups = [group(problem, method, 1e-3) for problem in ("burgers", "heat") for method in METHODS]
    ranks = {"methods": METHODS, "mean_ranks": [float(i) for i in range(8)], "over": "problems", "blocks": 2}
    profiles = {"tasks": 6, "methods": METHODS, "tau": [1.0, 3.0], "share": [[0.0, 0.5]] * 8}
    changes = {"methods": METHODS, "groups": groups, "ranks": {**ranks, "critical_distance": 5.0}, "profiles": profiles}
    yield from (figure for _, figure in comparison_figures({**summary(), **changes}))


def activations():
    yield from (activation_figure([activation(name) for name in ("elu", "tanh", "relu", "gelu")]),)
    layer = LayerSignal(1, 0.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, None)
    yield propagation_figure({name: [layer] * 3 for name in ("elu", "tanh", "relu", "gelu", "softplus", "sine")})


@pytest.mark.parametrize("figures", [audits, solutions, comparisons, activations])
def test_figures_are_legible_and_whole_at_the_width_of_a_column(figures):
    for figure in figures():
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
        assert min(sizes) * COLUMN / width >= 6.0
        box = figure.get_tightbbox()
        pixel = 1 / figure.dpi
        assert min(box.x0, box.y0) >= -pixel, figure.axes[0].get_title()
        assert (box.x1 - width, box.y1 - height) <= (pixel, pixel), figure.axes[0].get_title()


def test_no_two_of_fifty_methods_look_the_same():
    from pinnsolve.report.comparison_figures import _look

    assert len({_look(index)[:2] for index in range(50)}) == 50


def test_a_legend_has_as_many_columns_as_fit():
    assert legend_columns(["a", "b", "c"], 4.7) == 3
    assert legend_columns(["a" * 20] * 4, 4.7) == 2
    assert legend_columns(["a" * 200] * 4, 4.7) == 1
    # filled one after the other: the long name is alone in the last column
    assert legend_columns(["a" * 10] * 4 + ["a" * 30], 4.0) == 2
    assert legend_columns(["a" * 10] * 4 + ["a" * 30], 5.0) == 3


def test_the_axis_of_a_curve_follows_its_values_and_not_its_zeros():
    waves = np.abs(np.sin(np.linspace(0, 20 * np.pi, 4001)))  # down to 1e-15
    low, high = curve_limits(waves)
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(np.sin(0.05 * np.pi / 2) / 10, rel=0.01)
    assert curve_limits(np.array([0.0, np.nan])) is None


def test_units_stand_at_the_numbers_that_have_them():
    for grid, values in ((SPACE_TIME, HILL), (Grid(("t",), (LINE,), "t"), LINE)):
        figure = solution_figure("V", values, values + 1e-3, grid, "mV")
        texts = {text.get_text() for text in figure.findobj(Text)}
        assert {"$V$ / mV", "absolute error / mV"} <= texts
        assert not any("/" in text.get_text() for text in solution_figure("V", values, None, grid).findobj(Text))


def test_captions_are_of_what_is_drawn():
    def told(name, dimension, referenced=True, time=False):
        return caption(name, dimension, referenced=referenced, time=time)

    assert "Ticks at the bottom" in told("residual", 1)
    assert "White points" in told("residual", 2)
    assert "points have how large" in told("residual", 5)
    assert "profiles at three times" in told("solution_u", 2, time=True)
    assert "along three lines" in told("solution_u", 2)
    for dimension in (1, 2, 3):
        assert "reference" in told("solution_u", dimension)
        assert "reference" not in told("solution_u", dimension, referenced=False)
    for name in (*AUDIT_FIGURES, "residual", "history", "solution_u"):
        assert alternative(name).rstrip(".") not in told(name, 2)


def test_the_collocation_points_shown_are_spread_as_all_of_them_are():
    count = 1 << 13
    halton = np.array([int(f"{index:013b}"[::-1], 2) / count for index in range(count)])
    points = np.column_stack([halton, np.linspace(0, 1, count)])
    axes = residual_figure({"a": HILL}, PLANE, points).axes[0]
    (shown,) = axes.lines
    assert len(shown.get_xdata()) == 1500
    for share in (np.mean(shown.get_xdata() < 0.5), np.mean(shown.get_ydata() < 0.5)):
        assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(1500))


def test_a_singular_corner_does_not_hide_the_rest_of_the_residual():
    singular = np.abs(HILL) + 0.01
    singular[0, 0] = 1e12
    (mesh,) = residual_figure({"a": singular}, PLANE, None).axes[0].collections
    assert mesh.norm.vmax == pytest.approx(np.quantile(singular, 0.999))
    assert mesh.norm.vmax < 2
