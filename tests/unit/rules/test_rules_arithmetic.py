import math

import pytest

from exporter.rules.arithmetic import ARITHMETIC, FUNCTIONS

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("operator", "left", "right", "expected"),
    [
        ("/", 1.0, 0.0, INF),
        ("/", -1.0, 0.0, -INF),
        ("/", 1.0, -0.0, -INF),
        ("/", 0.0, 0.0, NAN),
        ("/", NAN, 0.0, NAN),
        ("/", 1.0, NAN, NAN),
        ("%", -7.0, 3.0, -1.0),
        ("%", 1.0, 0.0, NAN),
        ("%", INF, 2.0, NAN),
        ("%", 5.0, INF, 5.0),
        ("^", 2.0, -1.0, 0.5),
        ("^", -1.0, 0.5, NAN),
        ("^", 0.0, -1.0, INF),
        ("^", -0.0, -1.0, -INF),
        ("^", -0.0, -2.0, INF),
        ("^", 10.0, 400.0, INF),
        ("^", -10.0, 401.0, -INF),
        ("^", -10.0, 400.0, INF),
        ("^", NAN, 0.0, 1.0),
        ("^", 2.0, INF, INF),
    ],
)
def test_operators_give_numbers_where_python_raises(operator, left, right, expected):
    assert repr(ARITHMETIC[operator](left, right)) == repr(expected)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("floor", (-0.5,), -1.0),
        ("ceil", (-0.5,), -0.0),
        ("floor", (-0.0,), -0.0),
        ("floor", (INF,), INF),
        ("ceil", (NAN,), NAN),
        ("round", (2.5,), 3.0),
        ("round", (-2.5,), -2.0),
        ("round", (7.0, 5.0), 5.0),
        ("round", (7.0, 0.0), NAN),
        ("clamp_min", (1.0, 2.0), 2.0),
        ("clamp_max", (INF, 2.0), 2.0),
        ("clamp_max", (NAN, 2.0), NAN),
    ],
)
def test_functions(name, arguments, expected):
    assert repr(FUNCTIONS[name](*arguments)) == repr(expected)
