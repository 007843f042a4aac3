import pytest

from exporter.rules.expression import parse
from exporter.rules.scope import scope_of


def problems(text):
    root, found = parse(text)
    return found or scope_of(root)[1]


U = "pgheadroom_connections_used"
FREE = "pgheadroom_connections_free"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing"),
        ("  \n", "missing"),
        ("(" * 20_000, "longer than"),
        ("a >", "not PromQL"),
        ("1 > 2", "not PromQL"),
        (" or ".join([U] * 70), "nested more than"),
        (f"{U} offset NaN", "the parser gave up"),
        (f"rate({U}[5m]) > 1", "a range such as [5m] needs history; load it in Prometheus instead"),
        (f"rate({U}[5m]) > 1", "rate() needs history; load it in Prometheus instead"),
        (f"max_over_time({U}[5m:1m]) > 1", "needs history"),
        (f"{U} offset 5m > 1", "offset and @ need history"),
        (f"{U} @ 3 > 1", "offset and @ need history"),
        (f"absent({U})", "pgheadroom_up"),
        (f"topk(1, {U})", "topk is not evaluated here"),
        (f"sgn({U})", "sgn() is not evaluated here"),
        (f"time() - {U}", "time() is not evaluated here"),
        (f"{U} atan2 {FREE}", "atan2"),
        (f"{U} + fill(0) {FREE}", "fill"),
        (f'{U}{{datname=~"a" or datname="b"}} > 1', "joined with commas"),
        ('{__name__=~"pgheadroom_.*"} > 1', "does not name its series"),
        (f'{U}{{datname=~"x**"}} > 1', "the pattern of datname"),
        (f"{U}{{datname=`\\\\`}} > 1", "backquotes"),
        (f"{U}{{datname=~`prod\\.eu`}} > 1", "backquotes has a backslash; write it in double"),
        (f"{U}{{usename='`', datname=~`\\d`}} > 1", "backquotes"),
        ('"text"', "a string"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(text, said):
    assert any(said in problem for problem in problems(text)), problems(text)


def test_all_problems_of_an_expression_are_told():
    assert len(problems(f"rate({U}[5m]) > absent({U} offset 1m)")) == 4


@pytest.mark.parametrize(
    "text",
    [
        f"{U}{{datname=`shop`}}",
        f'{U}{{datname=~"`\\\\.`"}}',
        f"{U}{{datname=~'`\\\\.`'}}",
        f'{U}{{datname="\\"`", usename="`\\\\"}}',
        f"{U} # `a\\b`",
    ],
)
def test_backslashes_elsewhere_than_in_backquotes_are_promql(text):
    assert problems(text) == []
