"""What `check` finds before training: each fault planted into a problem that is right."""

from __future__ import annotations

import math
import re

import pytest
import sympy

from pinnsolve.errors import RequirementError
from pinnsolve.problems.expansion import MAX_TERMS, terms_written_out
from pinnsolve.problems.lint import lint
from pinnsolve.problems.lint_scales import field_sizes, scale_findings

HEAT = """
title = "heat"
[coordinates]
x = [0, 2]
t = [0, 1]
[constants]
k = 0.25
[equations]
heat = "u_t = k*u_xx"
[[conditions]]
where = "t = 0"
equation = "u = sin(pi*x)"
[[conditions]]
where = "x = 0"
equation = "u = 0"
[[conditions]]
where = "x = 2"
equation = "u = 0"
[reference]
exact = { u = "exp(-k*pi**2*t)*sin(pi*x)" }
"""

FLOW = """
title = "flow"
fields = ["u", "v", "p"]
[coordinates]
x = [0, 1]
y = [0, 1]
[equations]
mx = "u*u_x + v*u_y + p_x = laplacian(u)"
my = "u*v_x + v*v_y + p_y = laplacian(v)"
mass = "u_x + v_y = 0"
[[conditions]]
where = "boundary"
equation = "u = 1"
[[conditions]]
where = "boundary"
equation = "v = 0"
"""


def found_in(problem, level=None):
    return [(f.key, f.message, f.remedy) for f in lint(problem) if level in (None, f.level)]


def planted(problem_from, text, old, new):
    assert old in text
    return problem_from(text.replace(old, new, 1))


def test_nothing_is_found_where_nothing_is_wrong(problem_from):
    assert found_in(problem_from(HEAT)) == []


@pytest.mark.parametrize(
    ("old", "new", "message", "remedy"),
    [
        ('where = "x = 2"', 'where = "x = 0"\nname = "again"', "all 2 conditions on u in x stand on one side", "x = 2"),
        ('[[conditions]]\nwhere = "x = 2"\nequation = "u = 0"\n', "", "order 2 in x; there are 1", "at x = 2"),
        ('[[conditions]]\nwhere = "t = 0"\nequation = "u = sin(pi*x)"\n', "", "order 1 in t; there are 0", "at t = 0"),
        ('where = "x = 2"', 'where = "x = 2 and t < 0.4"', "60% of the face x = 2 has no condition", "x = 2 and"),
        ("u_t = k*u_xx", "u_t = -k*u_xx", "leaves a residual of 2 of the largest", "check signs"),
        ("-k*pi**2*t", "k*pi**2*t", "leaves a residual of", "check signs"),
        ("k = 0.25", "k = 0.25\nc = 3", "'c' is used nowhere", "remove it"),
        ("t = [0, 1]", "t = [0, 1]\ny = [0, 1]", "every y is a problem of its own", "missing term"),
        ("k = 0.25", "k = 2e-5", "terms -u_xx/50000 ~ 5.0e-06 and u_t ~ 1.0e+00 differ by 2e+05", "5.0e-06 for -u_xx"),
    ],
    ids=["one side", "missing side", "no start", "part", "sign", "exact sign", "constant", "coordinate", "scales"],
)
def test_a_planted_fault_is_found_with_its_remedy(problem_from, old, new, message, remedy):
    found = found_in(planted(problem_from, HEAT, old, new))
    matching = [f for f in found if message in f[1]]
    assert matching, found
    assert remedy in matching[0][2]


def without_reference(text):
    return text.split("[reference]")[0]


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("k*u_xx", "log(x - 1)*u_xx", "equations.heat", r"log\(x - 1\) is no finite number at x = 0\.\d+, t = .*50%"),
        ("k*u_xx", "k*u_xx + u*sqrt(-x)", "equations.heat", r"sqrt\(-x\) is no finite .* 100% of the points"),
        (
            "u = sin(pi*x)",
            "u = acos(x)",
            "conditions: u = acos(x) at t = 0",
            r"acos\(x\) is no finite .*, t = 0, .*50%",
        ),
    ],
)
def test_data_that_are_no_numbers_are_an_error_that_names_term_and_point(problem_from, old, new, key, message):
    ((found, text, _),) = [f for f in found_in(planted(problem_from, HEAT, old, new), "error") if "finite" in f[1]]
    assert found == key
    assert re.search(message, text), text


def test_a_coefficient_that_is_singular_on_a_face_alone_is_none(problem_from):
    assert found_in(planted(problem_from, without_reference(HEAT), "k*u_xx", "k*u_xx + u_x/x"), "error") == []


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("u/(x - 0.3)", r"has a pole inside the domain, at x = 0\.3, t = "),
        ("1/abs(x - 0.3)", r"has a pole inside the domain, at x = 0\.3, "),
        ("u*tan(x)", r"tan\(x\) has a pole inside the domain, at x = 1\.571, "),
        ("u/(x - t)**2", r"\*\*2 has a pole"),
        ("1/(1 - sin(pi*x/2))", r"has a pole inside the domain, at x = 1, "),  # touches zero, and has one sign
        ("1/((x - 0.3)**2 + (t - 0.6)**2)", r"has a pole inside the domain, at x = 0\.3, t = 0\.6"),
        ("(1 - cos(x - 0.3))/(x**2 - 0.6*x + 0.09)", None),  # 1/2
        ("u/((x - 0.3)**2 + 1e-8)", None),  # high, and finite
        ("1/(x**2 + t**2)", None),  # a corner is no inside
        ("u*sin(x - 0.3)/(x - 0.3)", None),  # a gap that is filled by 1
        ("u/x", None),  # a face is no inside
        ("u/sign(x - 0.3)", None),  # a jump, and finite
        ("u/(u - 0.5)", None),  # known only with the solution
    ],
)
def test_a_pole_between_the_sample_points_is_found_and_a_removable_one_is_none(problem_from, term, message):
    problem = planted(problem_from, without_reference(HEAT), "k*u_xx", f"k*u_xx + {term}")
    found = [text for key, text, _ in found_in(problem, "warning") if key == "equations.heat" and "pole" in text]
    assert bool(found) == (message is not None), found
    assert message is None or re.search(message, found[0]), found


def test_constants_of_invariants_and_ranges_are_used(problem_from):
    text = without_reference(HEAT).replace("k = 0.25", "k = 0.25\na = 2\nb = 3")
    text = text.replace("[coordinates]", '[fields.u]\nrange = [-1, "b"]\n[coordinates]', 1)
    assert found_in(problem_from(text + '[invariants]\nmass = "integral(a*u)"\n')) == []


def test_sums_with_too_many_terms_are_not_written_out(problem_from):
    factors = "*".join(["(1 + u + t)**16"] * 12)
    bomb = planted(problem_from, without_reference(HEAT), "k*u_xx", f"k*u_xx + {factors}")
    assert any("(t + u + 1)**192" in message for _, message, _ in found_in(bomb, "warning"))


def test_the_number_of_terms_is_that_of_the_sum_written_out():
    x, y, z = sympy.symbols("x y z")
    for expression in [(x + y + z) ** 5, (x + 1) * (y + 2) * (z + 3), (x + y) ** 3 + (y + z) ** 2 * z]:
        count = len(sympy.Add.make_args(sympy.expand(expression)))
        assert terms_written_out(expression) == pytest.approx(count, rel=1e-12)
    assert terms_written_out(sympy.sin((x + y) ** 2) * (1 / (x + y) ** 2)) == pytest.approx(9, rel=1e-12)
    assert terms_written_out((x + y) ** 10_000 * (x + z) ** 10_000) > MAX_TERMS


def test_the_scaled_form_leaves_out_what_has_the_size_of_one(problem_from):
    text = without_reference(HEAT).replace("k = 0.25", "k = 0.00001234567")
    ((_, message, remedy),) = found_in(problem_from(text))
    assert "-1.235e-5*u_xx ~" in message
    assert remedy.startswith("write x = 2*x' and divide by 1: ")


def test_a_bounded_term_of_a_large_field_is_not_taken_for_small(problem_from):
    """At u = 2π, the size of the data, sin(u) is 2e-16; nearer to 0 it is 1, as large as u_tt ~ 2π."""
    text = f"""
    title = "sine-Gordon"
    [coordinates]
    x = [0, 1]
    t = [0, 1]
    [equations]
    sine_gordon = "u_tt - u_xx + sin(u) = 0"
    [[conditions]]
    where = "t = 0"
    equation = "u = {2 * math.pi}*x"
    """
    assert scale_findings(problem_from(text)) == []


def test_a_conflict_at_a_corner_is_an_error_that_tells_both_values(problem_from):
    problem = planted(problem_from, without_reference(HEAT), 'where = "x = 2"\nequation = "u = 0"', CORNER)
    ((key, message, remedy),) = found_in(problem, "error")
    assert key == "conditions"
    assert re.search(r"u has two values at x = 2, t = 0: -?[\d.e-]+ by 'u = sin\(pi\*x\).*', 1 by 'u = 1", message)
    assert '"discontinuous"' in remedy


CORNER = 'where = "x = 2"\nequation = "u = 1"'


def test_a_jump_that_is_meant_is_a_warning(problem_from):
    text = without_reference(HEAT).replace('where = "x = 2"\nequation = "u = 0"', CORNER)
    problem = problem_from(text.replace("[coordinates]", 'tags = ["discontinuous"]\n[coordinates]', 1))
    assert found_in(problem, "error") == []
    assert len(found_in(problem, "warning")) == 1


def test_two_values_on_one_face_are_an_error(problem_from):
    problem = planted(problem_from, without_reference(HEAT), 'where = "x = 2"\nequation = "u = 0"', TWICE)
    assert any("two values at x = 2" in message for _, message, _ in found_in(problem, "error"))


@pytest.mark.parametrize(("gap", "level"), [("1e-9", None), ("3.7e-6", "warning"), ("0.002", "error")])
def test_a_tail_that_ends_where_the_domain_was_cut_off_is_no_error(problem_from, gap, level):
    there = f'where = "x = 2"\nequation = "u = {gap}"'  # the data at the start are at most 1
    problem = planted(problem_from, without_reference(HEAT), 'where = "x = 2"\nequation = "u = 0"', there)
    found = {level: found_in(problem, level) for level in ("error", "warning")}
    assert [name for name, findings in found.items() if findings] == ([level] if level else [])
    if level == "warning":
        ((_, message, remedy),) = found["warning"]
        assert "u has two values at x = 2, t = 0" in message
        assert "(4e-06 of their size)" in message
        assert "cut off" in remedy


TWICE = CORNER + '\n[[conditions]]\nwhere = "x = 2"\nequation = "2*u = t"'


def test_conditions_on_disjoint_parts_of_a_face_do_not_conflict(problem_from):
    early, late = 'where = "x = 2 and t < 0.5"\nequation = "u = 0"', 'where = "x = 2 and t > 0.5"\nequation = "u = 1"'
    parts = f"{early}\n[[conditions]]\n{late}"
    problem = planted(problem_from, without_reference(HEAT), 'where = "x = 2"\nequation = "u = 0"', parts)
    assert found_in(problem) == []


def test_slopes_do_not_conflict_with_values(problem_from):
    slope = 'where = "x = 2"\nequation = "u_x = 5"'
    problem = planted(problem_from, without_reference(HEAT), 'where = "x = 2"\nequation = "u = 0"', slope)
    assert found_in(problem) == []


def test_a_pressure_is_known_up_to_a_constant_and_needs_no_condition(problem_from):
    problem = problem_from(FLOW)
    assert problem.floating_fields == ("p",)
    assert [message for _, message, _ in found_in(problem)] == [
        "only derivatives of p occur: it is known up to a constant"
    ]


def test_a_side_of_a_system_without_a_condition_is_told(problem_from):
    problem = planted(
        problem_from, FLOW, 'where = "boundary"\nequation = "v = 0"', 'where = "x = 0"\nequation = "v = 0"'
    )
    messages = [message for _, message, _ in found_in(problem)]
    assert "v has derivatives of order 2 in x; there are 1 conditions" in messages
    assert "v has derivatives of order 2 in y; there are 0 conditions" in messages


def test_sizes_of_fields_come_from_their_data(problem_from):
    assert field_sizes(problem_from(FLOW)) == {"u": 1.0, "v": 1.0, "p": 1.0}
    text = without_reference(HEAT).replace("sin(pi*x)", "-300*x*(2 - x)")
    assert field_sizes(problem_from(text))["u"] == pytest.approx(300, rel=0.01)


def test_check_without_a_name_checks_the_whole_folder(tmp_path, capsys):
    from pinnsolve.cli.checking import check_command

    (tmp_path / "good.toml").write_text(HEAT)
    (tmp_path / "misspelt.toml").write_text(HEAT.replace("k*u_xx", "kk*u_xx"))
    (tmp_path / "missing.toml").write_text(HEAT.replace('where = "x = 2"', 'where = "x = 0"\nname = "again"'))
    with pytest.raises(RequirementError, match="check failed for misspelt"):
        check_command([], tmp_path, {}, json=False)
    printed = capsys.readouterr().out
    assert "good: ok" in printed
    assert "missing: ok, 1 warning; reference exact\n" in printed
    assert "unknown name 'kk'; did you mean 'k'" in printed
