import pytest

from exporter.rules.expression import parse, scope_of


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
        (f'{U}{{datname=~"\\\\bx"}} > 1', "the pattern of datname"),
        (f"{U}{{datname=`\\\\`}} > 1", "backquotes"),
        ('"text"', "a string"),
        ("vector(1)", "reads no series"),
        ("1", "reads no series"),
        ("pg_up == 0", "pg_up: only pgheadroom's own series"),
        (f"{U} > pgheadroom_state_writable", "make two rules"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(text, said):
    assert any(said in problem for problem in problems(text)), problems(text)


def test_all_problems_of_an_expression_are_told():
    assert len(problems(f"rate({U}[5m]) > absent({U} offset 1m)")) == 4


@pytest.mark.parametrize(
    "text",
    [
        U,
        f"({U}) > 1",
        f"-{U}",
        f"1 < {U}",
        f"abs({U})",
        f"round({U}, 5)",
        f"sum by (server, datname) ({U})",
        f"sum without (datname) ({U})",
        f"{U} > {FREE}",
        f"{U} > bool {FREE}",
        f"{U} > on (server) {FREE}",
        f"{U} > ignoring (datname) {FREE}",
        f"{U} > on (datname) group_left () {FREE}",
        f"sum({U}) * on () group_right () {FREE}",
        f"sum by (datname) ({U}) * on (datname) group_left (server) {FREE}",
        f"{U} and on () vector(1)",
        f"{U} unless sum({FREE})",
        f"{U} or {FREE}",
        f"{U} > scalar(sum({FREE}))",
        f"{U} > bool scalar({FREE})",
        '{__name__="pgheadroom_up"} == 0',
    ],
)
def test_results_that_carry_server_are_accepted(text):
    root, found = parse(text)
    assert (found, scope_of(root)) == ([], ("server", []))


@pytest.mark.parametrize(
    "text",
    [
        f"sum({U})",
        f"sum by (datname) ({U})",
        f"sum without (server) ({U})",
        f"sum by (server) (sum({U}))",
        f"{U} > on (datname) {FREE}",
        f"{U} > ignoring (server) {FREE}",
        f"sum({U}) > {FREE}",
        f"sum({U}) * on () group_left () {FREE}",
        f"{U} * on () group_right () sum({FREE})",
        f"{U} * on () group_left (server) sum({FREE})",
        f"{U} or sum({FREE})",
        f"vector(1) and on () {U}",
        f"vector(scalar({U}))",
        f"scalar({U})",
    ],
)
def test_results_without_server_are_refused(text):
    assert any("would not carry the label server" in each for each in problems(text))


def test_rules_about_pgheadroom_itself_need_no_server():
    root, found = parse("sum(pgheadroom_outbox_pending) > 3 and on () pgheadroom_state_writable")
    assert (found, scope_of(root)) == ([], ("self", []))
