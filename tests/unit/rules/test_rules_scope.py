"""What a rule may read: each server and each pooler is evaluated by itself, Prometheus sees all."""

import re

import pytest

from exporter.config.alerting import Rules
from exporter.rules.closures import vector
from exporter.rules.endpoints import kinds_of
from exporter.rules.evaluate import Index
from exporter.rules.expression import ELSEWHERE, parse
from exporter.rules.load import load_rules
from exporter.rules.scope import scope_of
from tests.support.engines import Family, Sample
from tools.reference import every_family, metrics

U = "pgheadroom_connections_used"
FREE = "pgheadroom_connections_free"
RATIO = "pgheadroom_connections_used_ratio"
PROBE = "pgheadroom_connect_probe_success"
WAITING = "pgheadroom_pool_clients_waiting"
THRESHOLD = "pgheadroom_threshold"


def problems(text):
    root, found = parse(text)
    return found or scope_of(root)[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vector(1)", "reads no series"),
        ("1", "reads no series"),
        ("pg_up == 0", "pg_up: only pgheadroom's own series"),
        (f"{U} > pgheadroom_state_writable", "make two rules"),
        ('pgheadroom_alerts{alertstate="firing"}', "made of what the rules find"),
    ],
)
def test_series_that_no_rule_can_read_are_refused(text, said):
    (problem,) = problems(text)
    assert said in problem


ALONE = [
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
    f"{U} * on (server) group_left (pooler) {FREE}",
    f"{U} and on () vector(1)",
    f"{U} * on () group_left () vector(2)",
    f"{U} > scalar(vector(3))",
    f"{U} or {FREE}",
    '{__name__="pgheadroom_up"} == 0',
    f"{PROBE} == 0",
    f"count by (server, pooler) ({PROBE} == 0)",
    f'count by (server) ({PROBE}{{via="direct"}} == 0)',
    f'{U} > 1 and on (server) {PROBE}{{pooler=""}} == 0',
    f"{U} > 1 and on (server, pooler) {PROBE} == 0",
    f'{RATIO} > on (server) group_left () {THRESHOLD}{{threshold="connections_warning"}}',
    f'{RATIO} > on (server) group_left () {THRESHOLD}{{threshold="of_nothing"}}',
    f'{WAITING} > on (server, pooler) group_left () {THRESHOLD}{{threshold=~"pool_clients_.*"}}',
    f"sum by (server, pooler) ({WAITING}) > 3",
    f'{WAITING} unless on (server, pooler) {PROBE}{{via!="direct"}} == 1',
    f"{WAITING} > 0 or {RATIO} > 0.5",
    "pgheadroom_pool_capacity_ratio > on (server) pgheadroom_up",
]  # fmt: skip


@pytest.mark.parametrize("text", ALONE)
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


ACROSS = [
    (f"{U} > scalar(sum({FREE}))", "`scalar` takes servers together"),
    (f"{U} > bool scalar({FREE})", "`scalar` takes servers together"),
    (f"{U} unless sum({FREE})", "`sum` takes servers together"),
    (f"{U} > 0 and on () (count(pgheadroom_up == 1) > 1)", "`count` takes servers together"),
    (f"{U} > 0 and on () (pgheadroom_up == 1)", "`and` takes servers together"),
    (f"{U} > 0 unless on () (pgheadroom_up == 1)", "`unless` takes servers together"),
    (f"{U} and ignoring (server) {FREE}", "match on (server) too"),
    (f"{U} > on (datname) group_left () {FREE}", "`>` takes servers together"),
    (f"sum({U}) * on () group_right () {FREE}", "`*` takes servers together"),
    (f"sum by (datname) ({U}) * on (datname) group_left (server) {FREE}", "group by (server) too"),
    (f"{WAITING} > 0 and on (server) {RATIO} > 0.8", f"{WAITING} is about a pooler and {RATIO}"),
    (f"{RATIO} > 0.8 unless on (server) {WAITING} > 0", f"server and {WAITING} is about a pooler"),
    (f"{WAITING} > 0 and pgheadroom_pool_capacity > 1", "is about a pooler and"),
    (f"{WAITING} > 0 or on (server) {RATIO} > 0.8", "`or` takes poolers together"),
    (f"sum by (server) ({WAITING}) > 3", "`sum` takes poolers together"),
    (f"count by (server) ({PROBE} == 0) > 1", "group by (pooler) too"),
    (f"{U} > 1 and on (server) {PROBE} == 0", "match on (pooler) too"),
    (f'{U} > on (server) group_left () {THRESHOLD}{{threshold="pool_used"}}', "about a pooler"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), ACROSS)
def test_what_takes_endpoints_together_is_for_prometheus(text, said):
    assert any(said in each and each.endswith(ELSEWHERE) for each in problems(text)), problems(text)


def endpoint(number, server, pooler):
    """The series that the expressions read, of a server or of one of its poolers."""
    common = {"server": server} | ({"pooler": pooler, "database": "shop"} if pooler else {})
    of_server = (U, FREE, RATIO, "pgheadroom_up", "pgheadroom_pool_capacity_ratio")
    threshold = "pool_clients_waiting" if pooler else "connections_warning"
    named = [
        *((name, {}) for name in ((WAITING,) if pooler else of_server)),
        (THRESHOLD, {"threshold": threshold}),
        (PROBE, {"via": pooler or "direct"}),
    ]
    return [
        Sample(name, common | labels, float((number + position) % 4))
        for position, (name, labels) in enumerate(named)
    ]


ENDPOINTS = [
    endpoint(3 * row + column, server, pooler)
    for row, server in enumerate(("a", "b", "c"))
    for column, pooler in enumerate(("", "p", "q"))
]


def found(text, samples):
    elements = vector(parse(text)[0])(Index.of([Family(samples)]))
    return sorted((sorted(labels.items()), value) for labels, value in elements)


RULES = [rule.expr for rule in load_rules(Rules())[0] if rule.scope == "server"]


@pytest.mark.parametrize("text", [*ALONE, *RULES])
def test_what_is_accepted_finds_the_same_in_each_endpoint_as_in_all_together(text):
    together = found(text, [sample for each in ENDPOINTS for sample in each])
    assert together == sorted(one for each in ENDPOINTS for one in found(text, each))


def test_rules_about_pgheadroom_itself_need_no_server():
    root, problems = parse("sum(pgheadroom_outbox_pending) > 3 and on () pgheadroom_state_writable")
    assert (problems, scope_of(root)) == ([], ("self", []))


ROWS = re.findall(r"^\| `(\w+)` \| \w+ \| (.*?) \|", metrics(), re.MULTILINE)


@pytest.mark.parametrize(("name", "labels"), ROWS, ids=[name for name, _ in ROWS])
def test_every_series_is_looked_for_where_it_is(name, labels):
    """The page of the metrics is made from what is exported."""
    root, _ = parse(name)
    scope, refused = scope_of(root)
    assert scope == ("server" if "`server`" in labels else "self")
    assert bool(refused) is (name == "pgheadroom_alerts")
    exported = dict(zip(("server", "pooler"), every_family(), strict=False))
    if scope == "server" and not refused:
        assert kinds_of(root) == {kind for kind in exported if name in names_of(exported[kind])}


def names_of(families):
    return {sample.name for family in families for sample in family.samples}
