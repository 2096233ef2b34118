"""The report of a run that no network made: figures, tables and page drawn from formulas."""

from __future__ import annotations

import base64
import errno
import html.parser
import io
import os
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from pinnsolve.errors import ResourceError, RunFolderError
from pinnsolve.evaluation.classical import ClassicalCost
from pinnsolve.report import (
    accuracy_table,
    audit_summary_table,
    audit_table,
    build_report,
    discretisation_table,
    plain,
    settings_table,
)
from pinnsolve.report.derivative_figure import v_curves_figure
from pinnsolve.report.grid_maps import Grid
from pinnsolve.report.history_figure import history_figure
from pinnsolve.report.mathml import equation_mathml
from pinnsolve.report.residual_figure import residual_figure
from pinnsolve.report.solution_figure import solution_figure
from pinnsolve.report.style import (
    RESOLUTION,
    SCHEMES,
    figure_style,
    label,
    linear_limits,
    log_limits,
    new_figure,
    rendered,
    symbol,
)
from pinnsolve.report.tables import Table, number
from pinnsolve.runs import RunFolder

PROBLEM = """title = "Viscous Burgers equation"
source = "Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, 686-707"

[coordinates]
x = [-1, 1]
t = [0, 1]

[constants]
nu = "0.01/pi"

[equations]
burgers = "u_t + u*u_x = nu*u_xx"

[[conditions]]
where = "t = 0"
equation = "u = -sin(pi*x)"

[[conditions]]
where = ["x = -1", "x = 1"]
equation = "u = 0"
"""
SETTINGS = {
    "network": {"kind": "mlp", "width": 20, "depth": 3, "activation": "tanh"},
    "training": {"optimizer": "lm", "steps": 470, "points": 2048},
    "precision": "float64",
    "seed": 0,
}
# order p, derivatives d, leading factor A and rounding factor S of each scheme for first and second derivatives
STENCILS = {
    "forward": {1: (1, 1 / 2, 2)},
    "backward": {1: (1, 1 / 2, 2)},
    "one_sided": {1: (2, 1 / 3, 4), 2: (2, 11 / 12, 16)},
    "central2": {1: (2, 1 / 6, 1), 2: (2, 1 / 12, 4)},
    "central4": {1: (4, 1 / 30, 1.5), 2: (4, 1 / 90, 16 / 3)},
    "central6": {1: (6, 1 / 140, 11 / 6), 2: (6, 1 / 560, 272 / 45)},
}
ROUNDOFF = {"float64": 1.1e-16, "float32": 6e-8}
TERMS = {"u_t": (1, 4.0, 2.0e-4), "u_x": (1, 20.0, 1.1e-4), "u_xx": (2, 25.0, 9.0e-4)}


def front(x, t):
    """A sine that steepens into a front at x = 0."""
    width = 0.02 + 0.6 * np.exp(-5 * t)
    return -np.sin(np.pi * x) * 0.2 - (1 - x**2) * np.tanh(x / width) * 0.7


def solution(shape=(128, 100)):
    x, t = np.linspace(-1, 1, shape[0]), np.linspace(0, 1, shape[1])
    grid_x, grid_t = np.meshgrid(x, t, indexing="ij")
    reference = front(grid_x, grid_t)
    error = 1e-4 * grid_t * np.sin(7 * grid_x + 3 * grid_t) * (1 + 30 * np.exp(-((grid_x / 0.05) ** 2)))
    random = np.random.default_rng(0)
    return {
        "coordinates": np.array(["x", "t"]),
        "axis_x": x,
        "axis_t": t,
        "u": reference + error,
        "u_reference": reference,
        "residual_burgers": 20 * error * np.cos(15 * grid_x),
        "collocation": np.column_stack([random.normal(0, 0.4, 2000).clip(-1, 1), random.random(2000)]),
    }


def history(rows=300):
    random = np.random.default_rng(1)
    for step in range(rows):
        fall = step / max(rows - 1, 1)
        widened = step > 0.8 * rows
        loss = 10 ** (-1 - 7 * fall**0.6 - 2 * widened) * np.exp(0.3 * random.normal())
        yield {
            "step": step,
            "seconds": 0.12 * step + 5 * widened,
            "stage": "widen and solve" if widened else "levenberg-marquardt",
            "loss": loss,
            "error": 0.3 * loss**0.45,
            "burgers": loss * 0.9,
            "damping": 1e-6,
            "points": 2048,
        }


def derivatives():
    random = np.random.default_rng(2)
    rows = []
    for term, (order, scale, network) in TERMS.items():
        for scheme, stencils in STENCILS.items():
            if order in stencils:
                p, leading, rounding = stencils[order]
                for dtype, unit in ROUNDOFF.items():
                    steps = 10.0 ** np.arange(-10 if dtype == "float64" else -6, 0.01, 0.25)
                    truncation = leading * (scale * steps) ** p
                    noise = (
                        rounding * 3 * unit / (scale * steps) ** order * np.exp(0.3 * random.normal(size=len(steps)))
                    )
                    error = np.minimum(truncation, 2.0) + noise
                    best = int(np.argmin(error))
                    rows += [
                        {
                            "term": term,
                            "field": "u",
                            "scheme": scheme,
                            "dtype": dtype,
                            "step": step,
                            "fd_vs_ad": error[i],
                            "fd_vs_ad_max": 5 * error[i],
                            "ad_vs_exact": network,
                            "fd_vs_exact": np.hypot(error[i], network),
                            "predicted_error": truncation[i] + 3 * rounding * unit / (scale * step) ** order,
                            "kink_fraction": 0.0,
                            "best": int(i == best),
                        }
                        for i, step in enumerate(steps)
                    ]
    return rows


def metrics(**changes):
    best = [row for row in derivatives() if row["best"]]
    keys = ("term", "scheme", "dtype", "step", "fd_vs_ad", "ad_vs_exact", "fd_vs_exact", "predicted_error")
    audit = [
        {
            **{key: row[key] for key in keys},
            "observed_order": 1.99,
            "kink_fraction": 0.0,
            "verdict": "ok" if row["dtype"] == "float64" else "rounding-limited",
        }
        for row in best
    ]
    return {
        "status": "finished",
        "reason": "time limit",
        "problem": "burgers",
        "title": "Viscous Burgers equation",
        "settings": SETTINGS,
        "seconds": 59.8,
        "steps": 470,
        "parameters": 921,
        "residual_evaluations": 11520000,
        "coordinates": {"x": [-1.0, 1.0], "t": [0.0, 1.0]},
        "time": "t",
        "equations": {"burgers": "u_t + u*u_x = nu*u_xx"},
        "fields": {
            "u": {"relative_l2": 5.7e-5, "max_error": 1.2e-3, "reference": "chebyshev", "reference_error": 1e-12}
        },
        "residuals": {"burgers": {"rms": 1e-4, "max": 1e-2}},
        "conditions": {"t = 0": {"rms": 0.0, "max": 0.0}, "x = -1": {"rms": 1e-17, "max": 3e-17}},
        "derivatives": audit,
        "unknowns": {},
        "classical": {"solver": "chebyshev", "seconds": 0.4, "relative_l2": 1e-9},
        "reference_seconds": 0.41,
        "environment": {"torch": "2.13.0", "device": "cpu", "threads": 2},
        "summary": ["u has a relative L2 error of 5.7e-5 against the Chebyshev reference (its own error: 1e-12)."],
        "warnings": [],
        "command": "pinnsolve solve burgers --activation tanh --seed 0 --time-limit 60",
        **changes,
    }


def write_run(outputs, name="one", **changes) -> RunFolder:
    """Write a whole run and return its folder, no longer held."""
    with RunFolder.create(outputs, "burgers", name) as folder:
        folder.write_settings(SETTINGS)
        folder.write_problem(PROBLEM)
        for row in history(60):
            folder.append_history(row)
        folder.write_derivatives(derivatives())
        folder.write_solution(solution((48, 40)))
        folder.write_metrics(metrics(**changes))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    folder = write_run(tmp_path_factory.mktemp("outputs"))
    build_report(folder)
    return folder


def page_of(folder: RunFolder) -> str:
    return (folder.path / "report.html").read_text(encoding="utf-8")


class Elements(html.parser.HTMLParser):
    """Collects elements with their attributes, and the text between them."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def drawn(figure):
    """Draw the figure as its files are drawn, only coarser; warnings are errors here."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


# ------------------------------------------------------------------------------- the whole report


def test_every_figure_is_there_in_both_formats_and_not_blank(run):
    files = {path.name for path in (run.path / "figures").iterdir()}
    assert files == {
        f"{name}.{kind}" for name in ("solution_u", "residual", "history", "v_curves") for kind in ("png", "svg")
    }
    for path in (run.path / "figures").glob("*.png"):
        pixels = imread(path)[..., :3]
        assert pixels.shape[1] >= 700
        assert (pixels.min(axis=2) < 0.9).mean() > 0.02, path.name


def test_the_page_shows_what_was_saved(run):
    text = Elements(page_of(run)).text
    for shown in ("Viscous Burgers equation", "Raissi", "5.70e-5", "1.00e-12", "chebyshev", "rounding-limited", "tanh"):
        assert shown in text
    assert "pinnsolve solve burgers --activation tanh --seed 0 --time-limit 60" in text
    assert "on x = -1 and x = 1" in text
    assert "2.13.0" in text


def test_the_page_embeds_the_figures_and_loads_nothing(run):
    page = page_of(run)
    elements = Elements(page).found
    sources = [attributes[key] for _, attributes in elements for key in ("src", "href", "srcset") if key in attributes]
    assert len(sources) == 4
    for source, name in zip(sources, ("solution_u", "residual", "history", "v_curves"), strict=True):
        kind, _, data = source.partition("base64,")
        assert kind == "data:image/svg+xml;"
        assert base64.b64decode(data) == (run.path / "figures" / f"{name}.svg").read_bytes()
    assert not re.search(r"url\(|@import", page)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in elements}
    policy = next(a["content"] for tag, a in elements if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:")


def test_the_report_needs_only_saved_numbers_and_is_the_same_each_time(run):
    before = {path: path.read_bytes() for path in [*(run.path / "figures").iterdir(), run.path / "report.html"]}
    for path in before:
        path.unlink()
    assert build_report(RunFolder.open(run.path)) == run.path / "report.html"
    assert {path: path.read_bytes() for path in before} == before


def test_no_setting_of_matplotlib_is_left_changed_or_taken_over(run):
    matplotlib.rcParams["axes.facecolor"] = "red"
    try:
        before = dict(matplotlib.rcParams)
        with figure_style():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        build_report(run)
        assert dict(matplotlib.rcParams) == before
    finally:
        matplotlib.rcParams["axes.facecolor"] = "white"


HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style></script><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "$\\frac{$ \\input{/etc/passwd}",
    "a\x1b]0;b\x07\u202ec\x00",
    '" onload="alert(1)',
]


def test_hostile_text_is_inert_everywhere(tmp_path):
    shown = {"rms": 1e-3, "max": 1e-2}
    folder = write_run(
        tmp_path,
        title=" ".join(HOSTILE),
        reason=HOSTILE[0],
        summary=HOSTILE,
        warnings=HOSTILE,
        command=HOSTILE[5],
        equations=dict(zip(HOSTILE, HOSTILE, strict=True)),
        residuals=dict.fromkeys(HOSTILE, shown),
        conditions=dict.fromkeys(HOSTILE, shown),
        environment=dict(zip(HOSTILE, HOSTILE, strict=True)),
        derivatives=[{"term": t, "scheme": t, "dtype": "float64", "fd_vs_ad": 1.0, "verdict": t} for t in HOSTILE],
        fields={"u": {"reference": HOSTILE[0]}},
    )
    row = derivatives()[0]
    folder.write_derivatives([{**row, "term": t, "scheme": t, "step": 10.0**-i} for t in HOSTILE for i in range(3)])
    saved = solution((8, 6))
    folder.write_solution({**saved, **{"residual_" + text.replace("\0", ""): saved["u"] for text in HOSTILE}})
    folder.write_problem('title = "unclosed')
    build_report(folder)
    elements = Elements(page_of(folder))
    assert not {"script", "iframe"} & {tag for tag, _ in elements.found}
    assert not any(key.startswith("on") for _, attributes in elements.found for key in attributes)
    assert {tag for tag, a in elements.found if "src" in a} == {"img"}
    assert all(a["src"].startswith("data:") for tag, a in elements.found if tag == "img")
    for text in HOSTILE:
        assert elements.text.count(plain(text)) >= 9, text
    assert not set("\x1b\x07\x00\u202e") & set(page_of(folder))


def test_a_run_with_nothing_but_metrics_has_a_page(tmp_path):
    with RunFolder.create(tmp_path, "burgers", "one") as folder:
        folder.write_metrics({"status": "diverged"})
    build_report(folder)
    assert "diverged" in Elements(page_of(folder)).text
    assert not (folder.path / "figures").exists()


def test_numbers_that_do_not_fit_together_are_refused(tmp_path):
    folder = write_run(tmp_path)
    folder.write_solution({**solution((8, 6)), "u": np.zeros(3)})
    with pytest.raises(RunFolderError, match=r"solution\.npz: the numbers do not fit"):
        build_report(folder)
    (folder.path / "solution.npz").unlink()
    content = (folder.path / "history.csv").read_text()
    (folder.path / "history.csv").write_text(content.replace("seconds", "minutes"))
    with pytest.raises(RunFolderError, match=r"history\.csv: the numbers do not fit together \('seconds'\)"):
        build_report(folder)
    (folder.path / "history.csv").unlink()
    folder.write_metrics(metrics(coordinates={"x": 1}))
    with pytest.raises(RunFolderError, match=r"metrics\.json: the values have the wrong types"):
        build_report(folder)


def test_a_full_disk_leaves_the_old_page(tmp_path, monkeypatch):
    folder = write_run(tmp_path)
    folder.write_page("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResourceError, match=r"solution_u\.png: no space left, \d+ bytes"):
        build_report(folder)
    assert page_of(folder) == "old"


def test_importing_the_report_imports_no_matplotlib():
    code = "import sys, pinnsolve.report; print([m for m in ('torch', 'matplotlib', 'jinja2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ------------------------------------------------------------------------------- figures

LINE = np.linspace(0.0, 1.0, 40)
HILL = np.sin(np.pi * LINE)[:, None] * np.sin(2 * np.pi * LINE)[None, :30] + 0.1
PLANE = Grid(("x", "y"), (LINE, LINE[:30]))
SPACE = Grid(tuple("abcde"), ())


def test_time_runs_to_the_right_and_every_value_is_at_its_place():
    for names, across, expected in (
        (("x", "t"), "$t$", HILL),
        (("t", "x"), "$t$", HILL.T),
        (("x", "y"), "$x$", HILL.T),
    ):
        grid = Grid(names, (LINE, LINE[:30]), "t" if "t" in names else None)
        with figure_style():
            panel = drawn(solution_figure("u", HILL, HILL + 1e-3, grid)).axes[0]
        assert panel.get_xlabel() == across
        np.testing.assert_array_equal(panel.collections[0].get_array(), expected)  # rows go up


@pytest.mark.parametrize(
    ("values", "reference"),
    [
        (HILL, HILL),
        (HILL, None),
        (HILL + 1e-15, HILL),
        (HILL * 0 + 3, HILL * 0 + 3),
        (HILL * 0, HILL * 0 + 1e-3),
        (HILL * 1e-310, HILL * 2e-310),
        (HILL * 1e-12, HILL * 1.1e-12),
        (HILL * 1e300, HILL * 1e305),
        (HILL * np.nan, HILL),
        (HILL, HILL * np.nan),
        (HILL * np.nan, HILL * np.nan),
        (np.where(HILL > 0.5, np.inf, HILL), np.where(HILL > 0.7, np.inf, HILL)),
    ],
)
def test_difficult_fields_are_drawn_without_a_warning(values, reference):
    with figure_style():
        for names, time in ((("x", "y"), None), (("x", "t"), "t")):
            drawn(solution_figure("u", values, reference, Grid(names, PLANE.axes, time)))
        only = None if reference is None else reference[:, 7]
        drawn(solution_figure("pressure", values[:, 7], only, Grid(("t",), (LINE,), "t")))
        drawn(solution_figure("u", values.ravel(), None if reference is None else reference.ravel(), SPACE))
        drawn(residual_figure({"a": values, "$b_{": HILL, "c": HILL * 0}, PLANE, None))
        drawn(residual_figure({"a": values[:, 7]}, Grid(("x",), (LINE,)), LINE[:, None]))
        drawn(residual_figure({"a": values.ravel()}, SPACE, np.zeros((4, 5))))


def test_one_point_and_two_times_are_enough():
    with figure_style():
        drawn(solution_figure("u", np.ones((1, 1)), np.ones((1, 1)), Grid(("x", "t"), (np.zeros(1), np.zeros(1)), "t")))
        drawn(solution_figure("u", HILL[:, :2], HILL[:, :2] + 1, Grid(("x", "t"), (LINE, LINE[:2]), "t")))
        drawn(solution_figure("u", np.ones(1), np.zeros(1), Grid(("t",), (np.zeros(1),), "t")))


@pytest.mark.parametrize(("lowest", "colors"), [(-0.01, "viridis"), (-0.2, "RdBu_r"), (0.0, "viridis")])
def test_a_map_has_a_colour_for_each_sign_only_where_both_signs_matter(lowest, colors):
    values = np.linspace(lowest, 1.0, HILL.size).reshape(HILL.shape)
    with figure_style():
        figure = drawn(solution_figure("u", values, values, PLANE))
    mesh = figure.axes[0].collections[0]
    assert mesh.get_cmap().name == colors
    assert mesh.get_clim() == pytest.approx((-1.0, 1.0) if colors == "RdBu_r" else (lowest, 1.0), abs=0.06)


def columns(rows):
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


@pytest.mark.parametrize("rows", [1, 2, 60])
@pytest.mark.parametrize(
    "change", [{}, {"error": np.nan}, {"loss": np.nan, "error": np.inf}, {"loss": 0.0}, {"seconds": 0.0}]
)
def test_difficult_histories_are_drawn_without_a_warning(rows, change):
    with figure_style():
        drawn(history_figure(columns([{**row, **change} for row in history(rows)]), 1e-5))


def test_the_history_has_both_curves_against_seconds_and_steps():
    saved = columns(list(history(60)))
    with figure_style():
        left, right = drawn(history_figure(saved)).axes
    assert (left.get_xlabel(), right.get_xlabel(), left.get_yscale()) == ("time / s", "step", "log")
    for axes, key in ((left, "seconds"), (right, "step")):
        for line, name in zip(axes.lines, ("loss", "error"), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), saved[key])
            np.testing.assert_array_equal(line.get_ydata(), saved[name])


def test_v_curves_have_one_panel_for_each_term_and_one_colour_for_each_scheme():
    rows = derivatives()
    with figure_style():
        panels = drawn(v_curves_figure(rows)).axes
    assert [axes.get_title() for axes in panels] == ["$u_{t}$", "$u_{x}$", "$u_{xx}$"]
    for axes, term in zip(panels, TERMS, strict=True):
        for scheme in STENCILS:
            curve = [
                row["fd_vs_ad"]
                for row in rows
                if (row["term"], row["scheme"], row["dtype"]) == (term, scheme, "float64")
            ]
            same = [
                line
                for line in axes.lines
                if len(line.get_ydata()) == len(curve) > 0 and np.allclose(line.get_ydata(), curve, rtol=1e-12)
            ]
            assert {line.get_color() for line in same} == ({SCHEMES[scheme][0]} if curve else set())
    assert len(set(SCHEMES.values())) == len({color for color, _ in SCHEMES.values()}) == len(SCHEMES)


@pytest.mark.parametrize(
    "change",
    [
        {"fd_vs_ad": 0.0},
        {"fd_vs_ad": np.nan, "predicted_error": np.nan},
        {"ad_vs_exact": np.nan},
        {"ad_vs_exact": 0.0},
        {"fd_vs_ad": np.inf},
        {"best": 0},
        {"scheme": "new", "term": "d(u, x1, x1)"},
        {"step": np.nan},
    ],
)
def test_difficult_audits_are_drawn_without_a_warning(change):
    with figure_style():
        drawn(v_curves_figure([{**row, **change} for row in derivatives()[::7]]))


def test_limits_hold_all_values_and_are_never_empty():
    assert linear_limits(np.array([1.0, np.nan, 3.0]), np.array([np.inf])) == (1.0, 3.0)
    assert linear_limits(np.array([2.0, 2.0])) == pytest.approx((1.8, 2.2))
    assert linear_limits(np.array([np.nan])) == (0.0, 1.0)
    assert log_limits(np.array([0.0, -1.0, np.nan])) is None
    assert log_limits(np.array([1e-30, 1.0]), decades=5) == pytest.approx((1e-5, 1.0))
    assert log_limits(np.array([2.0])) == pytest.approx((2 / 3, 6.0))


def test_labels_read_no_mathematics_from_text():
    assert symbol("u_xx") == "$u_{xx}$"
    assert symbol("x1") == "$x_{1}$"
    assert symbol("theta_t") == r"$\theta_{t}$"
    assert symbol("pressure") == "pressure"
    assert label("$x^{") == r"\$x^{"
    assert len(label("x" * 500)) == 40


# ------------------------------------------------------------------------------- tables and formulas


def test_the_classical_way_stands_beside_the_run():
    note = accuracy_table(metrics()).note
    assert "A classical solver (chebyshev) reaches 1.00e-9 in 0.400 s; this run took 59.8 s." in note
    short = {"solver": "collocation", "seconds": 3.0, "relative_l2": 1e-3, "reached": False}
    assert "came to 1.00e-3 in 3.00 s, not to the error of this run." in accuracy_table(metrics(classical=short)).note
    assert "classical" not in accuracy_table(metrics(classical=None)).note
    for reached in (True, False):  # once is enough
        said = ClassicalCost("chebyshev", 0.4, 1e-9, reached).sentence(59.8)
        assert accuracy_table(metrics(summary=[said])).note == ""


def test_the_accuracy_table_has_the_error_of_the_reference_beside_each_score():
    fields = {
        "u": {"relative_l2": 5.7e-5, "max_error": 1.2e-3, "reference": "chebyshev", "reference_error": 1e-4},
        "v": {"relative_l2": None, "max_error": None, "reference": None, "reference_error": None},
    }
    unknowns = {"k": {"estimate": 1.99, "true": 2.0, "relative_error": 0.005}}
    table = accuracy_table({"fields": fields, "unknowns": unknowns})
    assert table.rows[0] == ("u", "5.70e-5", "1.20e-3", "chebyshev", "1.00e-4")
    assert table.rows[1] == ("v", "–", "–", "none", "–")
    assert table.rows[2] == ("k (unknown)", "5.00e-3", "–", "estimate 1.99000, true 2.00000", "–")
    assert table.note == "The error of u is not larger than that of its reference and may be of either."


def test_the_audit_summary_takes_the_best_scheme_in_double_precision():
    row = {"term": "u_x", "dtype": "float64", "step": 1e-3, "ad_vs_exact": 1e-2, "verdict": "ok"}
    rows = [
        {**row, "scheme": "central2", "fd_vs_ad": 1e-5},
        {**row, "scheme": "central4", "fd_vs_ad": 1e-6},
        {**row, "scheme": "central6", "fd_vs_ad": None},
        {**row, "scheme": "forward", "fd_vs_ad": 1e-9, "dtype": "float32"},
    ]
    assert audit_summary_table({"derivatives": rows}).rows == (
        ("u_x", "central4", "1.00e-3", "1.00e-6", "1.00e-2", "1.00e-4", "ok"),
    )
    assert len(audit_table({"derivatives": rows}).rows) == 4
    assert audit_table({"derivatives": None}).rows == ()


def test_settings_have_dotted_names():
    rows = settings_table({"network": {"width": 20, "fourier": None}, "resume": False, "lists": [1, 2]}).rows
    assert rows == (("network.width", "20"), ("resume", "false"), ("lists", "[1, 2]"))


def test_tables_have_full_rows():
    with pytest.raises(ValueError, match="has 2 columns, a row has 1"):
        Table("t", ("a", "b"), (("1",),))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (True, "–"),
        ("1", "–"),
        (-1.5e-7, "-1.50e-7"),
        (0.5, "0.500"),
        (9999.0, "9999"),
        (1e5, "1.00e5"),
        (59.8, "59.8"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_equations_become_mathml():
    burgers = str(equation_mathml("u_t + u*u_x = nu*u_xx"))
    assert burgers.startswith("<math><mrow><msub><mi>u</mi><mrow><mi>t</mi></mrow></msub><mo>+</mo>")
    assert "<mo>=</mo>" in burgers
    assert "<mi>ν</mi>" in burgers
    assert "<mn>0</mn></math>" in str(equation_mathml("laplacian(u)"))
    assert "<mo>(</mo><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mo>)</mo>" in str(equation_mathml("(a + b)*c"))
    assert "<mo>(</mo><mrow><mi>b</mi><mo>−</mo><mi>c</mi></mrow><mo>)</mo>" in str(equation_mathml("a - (b - c)"))
    assert "<msup><mi>u</mi><mn>3</mn></msup>" in str(equation_mathml("u^3"))
    assert "<mfrac><mi>a</mi><mrow><mi>b</mi>" in str(equation_mathml("a/(b + c)"))
    assert "<msqrt><mi>x</mi></msqrt>" in str(equation_mathml("sqrt(x)"))
    assert equation_mathml("<script>") is None


def test_the_table_of_what_differences_do_not_see_names_each_finding():
    record = {
        "differenced": {"a": {"rms": 1e-3, "max": 1.0}, "b": {"rms": 1e-3, "max": 1.0}, "c": {"rms": 1e-3, "max": 1.0}},
        "differentiated": {"a": {"rms": 2e-3, "max": 1.0}, "b": {"rms": 0.5, "max": 1.0}, "c": {"rms": 0.4, "max": 1}},
        "roughness": {"a": 0.01, "b": 0.59, "c": 0.006},
        "hidden": {"b": 500.0, "c": 400.0},
        "decoupled": ["b"],
    }
    assert discretisation_table({"discretisation": record}).rows == (
        ("a", "1.00e-3", "2.00e-3", "1.0e-2", "adequate"),
        ("b", "1.00e-3", "0.500", "0.59", "odd-even decoupling: it oscillates on the scale of the step"),
        ("c", "1.00e-3", "0.400", "6.0e-3", "truncation error of the differences"),
    )
    assert discretisation_table({"discretisation": None}).rows == ()
    assert discretisation_table({}).rows == ()


class Counted(Line2D):
    """A line that counts how often it is drawn."""

    draws = 0

    def draw(self, renderer):
        type(self).draws += 1
        super().draw(renderer)


def one_line():
    figure = new_figure(3.0, 2.0)
    axes = figure.subplots()
    axes.add_line(Counted([0, 1], [0, 1]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axis.set_major_formatter(FixedFormatter(["low", "half", "high"]))
    axes.set_title("a line that is as long as the panel")
    return figure


def test_a_figure_is_drawn_once_for_each_file_and_looks_as_savefig_makes_it():
    saved = io.BytesIO()
    with figure_style():
        one_line().savefig(saved, format="png", dpi=RESOLUTION)
        Counted.draws = 0
        files = rendered(one_line())
    assert Counted.draws == 2
    saved.seek(0)
    assert np.array_equal(imread(io.BytesIO(files["png"])), imread(saved))
    assert files["svg"].startswith(b"<?xml")


def test_ticks_of_linear_axes_are_plain_text_with_their_power_of_ten():
    with figure_style():
        figure = new_figure(3.0, 2.0)
        axes = figure.subplots()
        axes.plot([0, 1], [-2e-6, 4e-6])
        rendered(figure)
    assert axes.yaxis.get_offset_text().get_text() == "×10⁻⁶"
    assert "−2" in [text.get_text() for text in axes.get_yticklabels()]
    assert not any("$" in text.get_text() for text in (*axes.get_xticklabels(), *axes.get_yticklabels()))


def test_steps_are_counted_in_whole_numbers_also_in_short_runs():
    history = {"step": np.array([1.0, 2, 3]), "seconds": np.array([0.5, 1, 3]), "loss": np.array([1.0, 0.5, 0.2])}
    with figure_style():
        figure = history_figure(history)
        figure.draw_without_rendering()
    ticks = figure.axes[1].get_xticks()
    assert len(ticks) >= 3
    assert np.array_equal(ticks, np.round(ticks))
