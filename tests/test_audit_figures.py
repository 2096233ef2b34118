"""The figures of the derivative audit, drawn from numbers that no network made: what is drawn is what was saved."""

from __future__ import annotations

import html
import io
import json

import numpy as np
import pytest
from matplotlib.collections import PathCollection, QuadMesh

from pinnsolve.errors import RunFolderError
from pinnsolve.report import build_report
from pinnsolve.report.captions import AUDIT_FIGURES, caption
from pinnsolve.report.derivative_figure import leading_ratio_figure, v_curves_figure
from pinnsolve.report.derivative_panels import MOST_PANELS, Panels
from pinnsolve.report.difference_map import difference_map_figure, distribution_figure
from pinnsolve.report.error_budget_figure import cost_figure, error_budget_figure, error_sources
from pinnsolve.report.style import OKABE_ITO, SCHEMES, figure_style
from pinnsolve.runs import RunFolder

from .test_report import write_run

BOX = {"x": (-1.0, 1.0), "t": (0.0, 2.0)}
STEPS = 10.0 ** np.arange(-9, 0.1, 0.5)


def curve(term="u_xx", scheme="central2", dtype="float64", order=2, **changes):
    """Rows of the law h²/12 + noise/h², relative, with kinks from h = 1e-3 on."""
    truncation, rounding = STEPS**order / 12, (1e-16 if dtype == "float64" else 1e-7) * 4 / STEPS**2
    errors = np.hypot(truncation, rounding)
    return [
        {
            "term": term,
            "field": "u",
            "scheme": scheme,
            "dtype": dtype,
            "step": step,
            "fd_vs_ad": errors[i],
            "fd_vs_ad_clean": 0.5 * errors[i],
            "ad_vs_exact": 1e-3,
            "fd_vs_exact": np.hypot(errors[i], 1e-3),
            "truncation": truncation[i],
            "rounding": rounding[i],
            "predicted_error": truncation[i] + rounding[i],
            "leading_ratio": 1.0 if step < 0.1 else 7.0,
            "kink_fraction": 0.25 if step >= 1e-3 else 0.0,
            "best": int(i == np.argmin(errors)),
            **changes,
        }
        for i, step in enumerate(STEPS)
    ]


def findings(*terms):
    rows = []
    for term in terms:
        for dtype, error in (("float64", 3e-16), ("float32", 2e-7)):
            record = {"term": term, "scheme": "central2", "dtype": dtype, "fd_vs_ad": 1e-8, "ad_vs_exact": 1e-3}
            rows.append({**record, "ad_error": error, "verdict": "ok"})
    return rows


def costs(term="u_xx"):
    return [
        {"term": term, "method": method, "evaluations": 3, "microseconds": time, "bytes": 100.0}
        for method, time in (("taylor", 2.0), ("autograd", 4.0), ("central2", 3.0))
    ]


def maps(dimension=2, kinks=True, term="u_xx", count=200):
    random = np.random.default_rng(0)
    points = random.random((count, dimension)) * 2 - 1
    kinked = np.abs(points[:, 0]) < 0.2
    found = {
        "points": points,
        f"coarse_error_{term}": np.where(kinked, 1e-2, 1e-5) * random.standard_normal(count),
        f"coarse_kinked_{term}": kinked & kinks,
        f"coarse_step_{term}": np.array(0.0117),
        f"value_{term}": np.full(count, 2.0),
    }
    if kinks and dimension <= 2:
        grid = np.zeros((9,) * dimension, bool)
        grid[4] = True  # a kink along x = 0
        found["kinks"] = grid
    return found


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


@pytest.fixture(autouse=True)
def _style():
    with figure_style():
        yield


def test_there_is_a_panel_for_each_derivative_up_to_twelve():
    panels = Panels.of([f"d(u, x{i}, x{i})" for i in range(20)])
    assert len(panels.by_term) == MOST_PANELS == 12
    assert panels.figure.get_suptitle() == "the first 12 of 20 derivatives"
    panels = Panels.of(["u_x", "u_t", "u_xx", "u_x", "u_tt", "u_xt"])
    assert list(panels.by_term) == ["u_x", "u_t", "u_xx", "u_tt", "u_xt"]
    panels.label_axes("step", "error")
    labels = {term: (axes.get_xlabel(), axes.get_ylabel()) for term, axes in panels.by_term.items()}
    below = {"u_tt": ("step", ""), "u_xt": ("step", "error")}
    assert labels == {"u_x": ("", "error"), "u_t": ("", ""), "u_xx": ("", "error"), **below}
    assert panels.figure.get_suptitle() == ""
    assert Panels.of("a").across == 1


def test_v_curves_show_the_error_of_autodiff_in_each_precision():
    rows = curve() + curve(dtype="float32")
    (axes,) = drawn(v_curves_figure(rows, findings("u_xx"))).axes
    levels = [line for line in axes.lines if len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2]
    assert [line.get_ydata()[0] for line in levels] == [1e-3, 2e-7]  # 3e-16 is far below the panel
    assert levels[1].get_linestyle() == "--"
    (plain,) = drawn(v_curves_figure(rows)).axes
    assert len(plain.lines) == len(axes.lines) - 1


def test_v_curves_show_the_steps_whose_errors_fit_into_the_panel():
    (axes,) = drawn(v_curves_figure(curve())).axes
    low, high = axes.get_xlim()
    inside = [row["step"] for row in curve() if row["fd_vs_ad"] <= 100]
    assert low < inside[0] < 3 * low
    assert high > inside[-1] > high / 3
    (axes,) = drawn(v_curves_figure(curve(fd_vs_ad=1e6))).axes  # none of them
    assert axes.get_ylim()[1] > 100


def test_the_leading_ratio_is_drawn_where_truncation_exceeds_rounding():
    rows = curve()
    (axes,) = drawn(leading_ratio_figure(rows)).axes
    (line,) = axes.lines
    shown = np.isfinite(line.get_ydata())
    # h²/12 > 4e-16/h² from h = 2.6e-4 on; from h = 0.1 on ρ = 7 is outside of the panel
    assert STEPS[shown].tolist() == STEPS[(STEPS > 2.6e-4) & (STEPS < 0.09)].tolist()
    assert set(line.get_ydata()[shown]) == {1.0}
    assert line.get_color() == SCHEMES["central2"][0]
    (empty,) = drawn(leading_ratio_figure(curve(leading_ratio=None))).axes
    assert "no leading term is known" in empty.texts[0].get_text()


def test_kinks_have_what_clean_points_leave_of_the_squared_error():
    row = {"fd_vs_ad": 5.0, "fd_vs_ad_clean": 2.0, "kink_fraction": 0.25, "truncation": 1.0, "rounding": 2.0}
    found = error_sources(row)
    assert (1 - 0.25) * 2.0**2 + found["kinks"] ** 2 == pytest.approx(5.0**2)
    assert (found["truncation"], found["rounding"]) == (1.0, 2.0)
    assert np.isnan(found["network"])
    few_clean = error_sources({**row, "fd_vs_ad_clean": None})
    assert few_clean["kinks"] == pytest.approx(np.sqrt(25 - 1 - 4))
    assert np.isnan(error_sources({**row, "kink_fraction": 0.0})["kinks"])
    assert error_sources({**row, "fd_vs_ad": 1.0})["kinks"] == 0.0


def test_the_budget_has_the_sources_of_the_best_step_by_precision():
    rows = [*curve("u_x", order=1), *curve("u_xx"), *curve("u_xx", dtype="float32"), *curve("u_xx", scheme="forward")]
    left, right = drawn(error_budget_figure(rows)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["$u_{x}$", "$u_{xx}$"]
    best = next(row for row in curve("u_xx") if row["best"])
    places = {(line.get_color(), float(line.get_ydata()[0])): line.get_xdata()[0] for line in left.lines}
    assert places[OKABE_ITO["blue"], 1.0] == best["truncation"]
    assert places[OKABE_ITO["orange"], 1.0] == best["rounding"]
    assert places[OKABE_ITO["black"], 1.0] == best["ad_vs_exact"]
    assert {float(line.get_ydata()[0]) for line in right.lines} == {1.0}  # float32 has u_xx alone
    names = [text.get_text() for text in left.figure.legends[0].get_texts()]
    # the best step of float64 is below the kinks, that of float32 is not
    assert names == ["network", "truncation", "rounding", "kinks", "FD − AD, measured"]
    smooth = error_budget_figure(curve(kink_fraction=0.0, ad_vs_exact=None))
    assert [text.get_text() for text in smooth.legends[0].get_texts()] == [
        "truncation",
        "rounding",
        "FD − AD, measured",
    ]
    assert error_budget_figure(curve(scheme="forward")) is None


def test_cost_is_drawn_against_the_error_at_the_best_step():
    (axes,) = drawn(cost_figure(findings("u_xx", "u_x"), costs())).axes
    places = {
        line.get_color(): (line.get_xdata(), line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 1
    }
    expected = {"taylor": (2.0, 3e-16), "autograd": (4.0, 3e-16), "central2": (3.0, 1e-8)}
    assert {SCHEMES[name][0]: place for name, place in expected.items()} == {
        color: (float(x[0]), float(y[0])) for color, (x, y) in places.items()
    }
    low, high = axes.get_xlim()
    assert high / low >= 9.99  # twice the time is not the whole panel
    assert axes.lines[-1].get_ydata()[0] == 1e-3  # the network
    assert cost_figure(findings("u_xx"), []) is None
    assert cost_figure([], costs()) is None


@pytest.mark.parametrize(("time", "across"), [(None, 0), ("t", 1)])
def test_maps_have_points_errors_and_kinks_in_place(time, across):
    found = maps()
    figure = drawn(difference_map_figure(found, BOX, time))
    axes = figure.axes[0]
    (dots,) = [each for each in axes.collections if isinstance(each, PathCollection)]
    order = np.argsort(np.abs(found["coarse_error_u_xx"]))
    assert np.array_equal(dots.get_offsets(), found["points"][order][:, [across, 1 - across]])
    assert dots.get_array().max() == np.abs(found["coarse_error_u_xx"]).max() / 2.0  # relative to a derivative of 2
    (mesh,) = [each for each in axes.collections if isinstance(each, QuadMesh)]
    shown = np.isfinite(np.ma.filled(mesh.get_array(), np.nan)).reshape(9, 9)
    assert np.array_equal(shown, found["kinks"].T if across == 0 else found["kinks"])
    assert axes.get_xlim() == list(BOX.values())[across]
    assert axes.get_title() == "$u_{xx}$, $h$ = 0.012"


def test_a_profile_has_kinks_as_lines_between_the_nodes():
    found = maps(dimension=1)
    (axes,) = drawn(difference_map_figure(found, {"x": (-1.0, 1.0)}, None)).axes
    (kink,) = [line for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert kink.get_xdata()[0] == pytest.approx(0.125)  # node 4 of 9 is 0, and the sign changes before node 5
    clean, kinked = axes.lines[-2:]
    assert len(clean.get_xdata()) + len(kinked.get_xdata()) == len(found["points"])
    assert np.abs(kinked.get_xdata()).max() < 0.2 < np.abs(clean.get_xdata()).max()


def test_smooth_activations_have_no_kinks_and_many_dimensions_no_map():
    figure = drawn(difference_map_figure(maps(kinks=False), BOX, "t"))
    assert not [each for each in figure.axes[0].collections if isinstance(each, QuadMesh)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["|FD − AD|, relative"]
    assert difference_map_figure(maps(dimension=3), {**BOX, "y": (0, 1)}, None) is None
    assert difference_map_figure({}, BOX, None) is None
    assert distribution_figure({}) is None


def test_distributions_count_every_point_on_its_side():
    found = maps(dimension=5)
    (axes,) = drawn(distribution_figure(found)).axes
    filled, outline = axes.containers[0], axes.patches[-1]
    kinked = int(found["coarse_kinked_u_xx"].sum())
    assert sum(bar.get_height() for bar in filled) == 200 - kinked
    heights = outline.get_xy()[:, 1]
    assert heights[1:-1:2].sum() == pytest.approx(kinked)


def test_few_points_are_drawn_larger_and_without_kinks_none_are_named():
    found = maps()
    few = {name: values[:50] if len(np.atleast_1d(values)) == 200 else values for name, values in found.items()}
    few["coarse_kinked_u_xx"] = np.zeros(50, bool)
    areas = []
    for those in (found, few):
        collections = drawn(difference_map_figure(those, BOX, None)).axes[0].collections
        (dots,) = [each for each in collections if isinstance(each, PathCollection)]
        areas.append(dots.get_sizes()[0])
    assert areas == pytest.approx([35.0, 40.0])
    for those, count in ((found, 2), (few, 1)):
        assert len(drawn(distribution_figure(those)).legends[0].get_texts()) == count


def test_what_vanishes_or_is_not_finite_is_said_so():
    zero = {**maps(), "value_u_xx": np.zeros(200)}
    for figure in (difference_map_figure(zero, BOX, None), distribution_figure(zero)):
        assert drawn(figure).axes[0].texts[0].get_text() == "no error above zero"
    broken = {**maps(), "coarse_error_u_xx": np.full(200, np.nan)}
    assert drawn(difference_map_figure(broken, BOX, None)).axes[0].texts[0].get_text() == "no error above zero"
    (axes,) = drawn(error_budget_figure(curve(fd_vs_ad=None, truncation=None, rounding=None, ad_vs_exact=None))).axes
    assert axes.texts[0].get_text() == "no error above zero"


def test_a_run_with_a_full_audit_has_all_figures_and_captions(tmp_path):
    folder = write_run(tmp_path, derivatives=findings("u_xx"), audit={"costs": costs()})
    folder.write_derivatives(curve() + curve(dtype="float32"))
    folder.write_audit_maps(maps())
    page = html.unescape(build_report(folder).read_text())
    assert {path.stem for path in (folder.path / "figures").glob("*.svg")} >= AUDIT_FIGURES
    derivatives_part = page[page.index("<h2>Derivatives</h2>") :]
    for name in AUDIT_FIGURES:
        told = caption(name, 2, referenced=True, time=True)
        assert told in derivatives_part
        assert told not in page[: page.index("<h2>Derivatives</h2>")]


def test_numbers_that_do_not_fit_are_named(tmp_path):
    folder = write_run(tmp_path)
    folder.write_audit_maps({**maps(), "coarse_kinked_u_xx": np.zeros(3, bool)})
    with pytest.raises(RunFolderError, match=r"audit\.npz: the numbers do not fit together"):
        build_report(folder)
    folder.write_audit_maps({})
    metrics = json.loads((folder.path / "metrics.json").read_text())
    folder.write_metrics({**metrics, "audit": ["no table"], "coordinates": 3, "derivatives": [None]})
    with pytest.raises(RunFolderError, match="wrong types"):
        build_report(RunFolder.open(folder.path))
