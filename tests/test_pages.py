"""The pages in a real browser: they load nothing, run no foreign script, sort, filter, and show their figures."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest

from pinnsolve.errors import RunFolderError
from pinnsolve.report import build_comparison_report, comparison_tables
from pinnsolve.runs import ComparisonFolder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>\u202e"
CURVE = {"moments": [1.0, 2.0, 4.0], "median": [1.0, 0.1, None], "low": [0.5, 0.01, 0.01], "high": [2.0, None, None]}


def group(problem, method, error, **changes):
    interval = {
        "median": error,
        "low": error,
        "high": None if error is None else 2 * error,
        "coverage": 0.75,
        "count": 3,
    }
    values = {
        "problem": problem,
        "method": method,
        "runs": 3,
        "without_result": 1,
        "diverged": 0,
        "error": interval,
        "seconds": 2.5,
        "seconds_to_target": None if error is None or error > 1e-3 else 1.5,
        "seconds_to": {},
        "reference_error": 1e-16,
        "fd_term": "u_xx",
        "fd_scheme": "central4",
        "fd_step": 1e-3,
        "fd_error": 1e-9,
        "ad_error": 1e-4,
        "fd_verdict": "ok",
        "curves": {"seconds": CURVE, "evaluations": CURVE},
    }
    return values | changes


def run(problem, method, seed, error, **changes):
    values = {
        "problem": problem,
        "method": method,
        "seed": seed,
        "activation": method,
        "status": "finished",
        "error": error,
        "seconds": 10.0 - seed,
        "steps": 100 + seed,
        "residual_evaluations": 5000,
        "reference_error": 1e-16,
        "fd_term": "u_xx",
        "fd_scheme": "central4",
        "fd_step": 1e-3,
        "fd_error": 1e-9,
        "ad_error": None,
        "fd_verdict": "ok",
        "reason": "steps",
        "settings": "",
        "folder": f"runs/{problem}/{method}-{seed}",
        "command": "pinnsolve solve",
    }
    return values | changes


def summary(title="Engines", hostile="elu"):
    runs = [run("burgers", hostile, seed, 10.0**-seed) for seed in range(3)]
    runs += [run("heat", "tanh", seed, 2e-9 / (seed + 1)) for seed in range(2)]
    runs += [run("heat", "tanh", 2, None, status="failed", reason=f"no luck {hostile}", folder="../../etc")]
    groups = [
        group(p, m, e) for p, m, e in (("burgers", hostile, 0.1), ("burgers", "tanh", 1e-6), ("heat", hostile, None))
    ]
    test = {"name": "sign", "statistic": 2.0, "p_value": 0.5, "note": ""}
    ranks = {"over": "problems", "blocks": 2, "methods": [hostile, "tanh"], "mean_ranks": [2.0, 1.0], "test": test}
    return {
        "schema": 1,
        "name": title,
        "command": "pinnsolve compare " + hostile,
        "target": 1e-3,
        "problems": ["burgers", "heat"],
        "methods": [hostile, "tanh"],
        "runs": runs,
        "groups": groups,
        "ranks": ranks | {"critical_distance": 1.39},
        "profiles": {"tasks": 6, "methods": [hostile, "tanh"], "tau": [1.0, 3.0], "share": [[0.0, 0.5], [0.5, 0.5]]},
        "open": ["heat: tanh, seed 3"],
    }


@pytest.fixture
def page(tmp_path):
    """Return a function that builds the page of a summary and returns its path."""

    def build(content):
        with ComparisonFolder.hold(tmp_path, "one") as folder:
            folder.write_summary(content, content["runs"], [])
            return build_comparison_report(folder)

    return build


def test_the_page_of_a_comparison_names_nothing_outside_itself(page):
    html = page(summary()).read_text()
    assert re.findall(r"(?:src|href)=\"(?!data:image/svg|#|runs/)", html) == []
    assert "://" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert html.count("<figure>") == 6


def test_hostile_titles_are_text(page):
    html = page(summary(HOSTILE, HOSTILE)).read_text()
    assert html.count("<script>") == 1
    assert "<img src=x" not in html
    assert "\u202e" not in html
    assert "../" not in html


def test_a_summary_of_other_types_is_refused(page):
    with pytest.raises(RunFolderError, match=r"summary.json: the values do not fit together"):
        page(summary() | {"groups": [{"error": 3}]})
    with pytest.raises(RunFolderError, match="schema 1 is needed, got 2"):
        page(summary() | {"schema": 2})


def test_tables_say_what_has_no_result_and_how_sure_an_interval_is():
    accuracy, audit, ranks, failures = comparison_tables(summary())
    assert accuracy.rows[2][2:4] == ("no result", "–")
    assert accuracy.rows[0][2:4] == ("0.100", "0.100 … 0.200")
    assert "probability of 75%" in accuracy.note
    assert audit.rows[0][3:5] == ("u_xx", "central4")
    assert [row[0] for row in ranks.rows] == ["tanh", "elu"]
    assert "p = 0.50, so the methods cannot be told apart" in ranks.note
    assert failures.rows[0][-1] == "no luck elu"


# ------------------------------------------------------------------------------------------------- in a browser


@contextmanager
def browser(folder):
    """Start a headless browser; yield the port of its debugging protocol."""
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"]
    arguments += ["--disable-background-networking", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen([CHROMIUM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        file = folder / "DevToolsActivePort"
        for _ in range(1200):
            if file.exists() and file.read_text().strip():
                break
            time.sleep(0.1)
        yield int(file.read_text().split()[0])
    finally:
        process.terminate()
        process.wait(timeout=60)


class Tab:
    """A tab of the browser, driven by its debugging protocol; keeps every event."""

    def __init__(self, socket):
        self.socket, self.events, self.sent = socket, [], 0

    async def call(self, method, **parameters):
        self.sent += 1
        await self.socket.write_message(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self.socket.read_message())
            if message.get("id") == self.sent:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    async def evaluate(self, script):
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def named(self, *methods):
        return [event["params"] for event in self.events if event["method"] in methods]


async def visited(port, path, scripts):
    """Open a page and return the values of the scripts, the requests it made, and its complaints."""
    from tornado.websocket import websocket_connect

    request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
    with urllib.request.urlopen(request) as answer:
        target = json.load(answer)["webSocketDebuggerUrl"]
    socket = await websocket_connect(target, max_message_size=2**28)
    tab = Tab(socket)
    for domain in ("Page", "Runtime", "Log", "Network"):
        await tab.call(f"{domain}.enable")
    await tab.call("Page.navigate", url=path.as_uri())
    loaded = (
        "new Promise(done => document.readyState === 'complete' ? done(1) : addEventListener('load', () => done(1)))"
    )
    await tab.evaluate(loaded)
    values = [await tab.evaluate(script) for script in scripts]
    requests = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
    complaints = tab.named("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    socket.close()
    while await socket.read_message() is not None:  # until the browser has closed its end too
        pass
    return values, requests, complaints


COLUMN = (
    "[...document.querySelectorAll('#runs tbody tr')].filter(r => !r.hidden).map(r => r.cells[{}].textContent).join()"
)
CLICK = "document.querySelectorAll('#runs thead button')[{}].click()"
INPUT = "e.value = '{1}'; e.dispatchEvent(new Event('input', {{bubbles: true}}));"
SET = "(e => {{ " + INPUT + " }})(document.getElementById('{0}'))"
FIGURES = (
    "[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt && i.getBoundingClientRect().width > 50)"
)
SCRIPTS = [
    FIGURES,
    CLICK.format(5),
    COLUMN.format(5),
    CLICK.format(5),
    COLUMN.format(5),
    "document.querySelectorAll('#runs th')[5].getAttribute('aria-sort')",
    CLICK.format(3),
    COLUMN.format(3),
    SET.format("filter-problem", "heat"),
    COLUMN.format(0),
    SET.format("filter-text", "failed"),
    "document.getElementById('shown').textContent",
    "document.querySelectorAll('#runs a').length",
    "(document.querySelector('#runs thead button').focus(), document.activeElement.textContent)",
    "window.hurt === undefined",
]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_sorts_filters_and_asks_for_nothing_in_a_browser(page, tmp_path):
    path = page(summary(HOSTILE))
    with browser(tmp_path / "profile") as port:
        values, requests, complaints = asyncio.run(visited(port, path, SCRIPTS))
    assert values[0] is True
    assert values[2] == "1.00e-9,2.00e-9,1.00e-2,0.100,1.00,–"
    assert values[4] == "1.00,0.100,1.00e-2,2.00e-9,1.00e-9,–"  # what has no number stays at the end
    assert values[5] == "descending"
    assert values[7] == "0,0,1,1,2,2"
    assert values[9] == "heat,heat,heat"
    assert values[11] == "1 of 6 runs shown"
    assert values[12] == 5  # a run without a result has no page, and a folder elsewhere no link
    assert values[13] == "problem"
    assert values[14] is True
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert complaints == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_of_a_run_is_quiet_and_asks_for_nothing_in_a_browser(tmp_path):
    from pinnsolve.cli import run as command_line

    problem = tmp_path / "decay.toml"
    problem.write_text(
        'title = "<script>window.hurt = 1</script>"\n[coordinates]\nt = [0, 1]\n[equations]\ndecay = "u_t = -u"\n'
        '[[conditions]]\nwhere = "t = 0"\nequation = "u = 1"\n[reference]\nexact = { u = "exp(-t)" }\n'
        "[solve]\nnetwork.width = 4\nnetwork.depth = 1\ntraining.points = 32\ntraining.steps = 4\n"
        'training.optimizer = "lm"\naudit.points = 16\n'
    )
    assert command_line(["solve", str(problem), "-o", str(tmp_path), "--name", "one", "-q"]) == 0
    path = tmp_path / "decay" / "one" / "report.html"
    text = path.read_text()
    assert "Made with pinnsolve" in text
    assert re.search(r"<strong>u_t: [a-z -]+\.</strong> [A-Z]", text)
    with browser(tmp_path / "profile") as port:
        values, requests, complaints = asyncio.run(visited(port, path, [FIGURES, "window.hurt === undefined"]))
    assert values == [True, True]
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert complaints == []
