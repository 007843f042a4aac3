"""The PromQL that several panels share.

Two pgheadrooms may watch one server, and a restart gives a new `instance`: everything is first made
one series for each (job, server), so that nothing is drawn or counted twice.
"""

from __future__ import annotations

from functools import reduce

from tools.dashboards import levels

#: What the variables choose. Every series has both labels; `instance` would end with each pod.
CHOSEN = 'job=~"$job", server=~"$server"'
POOLED = f'{CHOSEN}, pooler=~"$pooler"'
SERVER = "job, server"
POOLER = "job, server, pooler"
POOL = f"{POOLER}, database, user"
HOLDER = "application_name, usename, datname"
_TUPLE = f"{HOLDER}, state"
LINES = 30
#: What stands for "not within any horizon" among seconds; a century is never forecast.
NEVER = 3_153_600_000


def select(name: str, *matchers: str, chosen: str = CHOSEN) -> str:
    """The series `name` of the chosen endpoints."""
    return f"{name}{{{', '.join((chosen, *matchers))}}}"


def server(name: str, *matchers: str) -> str:
    """The series `name`, one for each server."""
    return f"max by ({SERVER}) ({select(name, *matchers)})"


def one(name: str, *matchers: str) -> str:
    """The series `name` of the only server that is chosen."""
    return f"max({select(name, *matchers)})"


def pooler(name: str, *matchers: str) -> str:
    """The series `name`, one for each pooler."""
    return f"max by ({POOLER}) ({select(name, *matchers, chosen=POOLED)})"


def pool(name: str, *matchers: str) -> str:
    """The series `name`, one for each pool."""
    return f"max by ({POOL}) ({select(name, *matchers, chosen=POOLED)})"


def largest(name: str, by: str = SERVER, chosen: str = CHOSEN) -> str:
    """The series `name` by `by`, at each moment only the largest: more lines nobody can tell apart.

    They are picked before they are put together, which is what makes it quick with many.
    """
    return f"max by ({by}) (topk({LINES}, {select(name, chosen=chosen)}))"


def smallest(name: str, by: str = SERVER) -> str:
    """The series `name` by `by`, at each moment only the smallest."""
    return f"max by ({by}) (bottomk({LINES}, {select(name)}))"


def per_second(name: str, by: str = SERVER) -> str:
    """The counter `name` per second, one for each of `by`."""
    return f"max by ({by}) (rate({select(name)}[$__rate_interval]))"


def holders(by: str, *matchers: str, offset: str = "") -> str:
    """Client backends by `by`, which is among the labels of `pgheadroom_connections`."""
    found = f"{select('pgheadroom_connections', *matchers)}{offset}"
    return f"sum by ({by}) (max by ({_TUPLE}) ({found}))"


def growth(by: str) -> str:
    """By how much `holders` grew within $window; nothing where the server was not seen then."""
    now, before = holders(by), holders(by, offset=" offset $window")
    seen = f"max({select('pgheadroom_up')} offset $window)"
    return f"({now} - ({before} or {now} * 0)) and on () {seen}"


def threshold(*names: str, chosen: str = CHOSEN) -> str:
    """The lowest of each threshold among what is chosen, by its name."""
    found = select("pgheadroom_threshold", f'threshold=~"{"|".join(names)}"', chosen=chosen)
    return f"min by (threshold) ({found})"


def reached(ratio: str, *thresholds: str) -> str:
    """How many of `thresholds`, each server's own, its `ratio` has reached: 0, 1, 2."""
    limits = select("pgheadroom_threshold", f'threshold=~"{"|".join(thresholds)}"')
    over = f"{select(ratio)} >= on (server, instance, job) group_right () {limits}"
    counted = f"count by ({SERVER}, instance) ({over})"
    return f"max by ({SERVER}) ({counted} or {select(ratio)} * 0)"


def blind() -> str:
    """1 for each server that is not seen, or was there a quarter of an hour ago and is gone."""
    before = f"max by ({SERVER}) (max_over_time({select('pgheadroom_up')}[15m]))"
    return f"{before} * 0 + 1 unless {server('pgheadroom_up')} == 1"


def run_out() -> str:
    """Seconds until each server runs out of slots: 0 when it has, `NEVER` without a forecast.

    Nothing for a server that was never seen: nobody knows whether it grows.
    """
    out = f"{server('pgheadroom_connections_free')} == 0"
    forecast = server("pgheadroom_exhaustion_forecast_seconds").replace("max by", "min by", 1)
    known = server("pgheadroom_connections_usable")
    return f"({out}) or {forecast} or {known} * 0 + {NEVER}"


def firing(*matchers: str) -> str:
    """Alerts that fire, of pgheadroom's own engine or of a Prometheus that loaded the rules."""
    chosen = 'job=~"$job", server=~"$server|"'
    fire = ", ".join((chosen, 'alertstate="firing"', *matchers))
    found = f'pgheadroom_alerts{{{fire}}} or ALERTS{{{fire}, family!=""}}'
    return f"max by (alertname, severity, server) ({found})"


def with_runbook(expression: str) -> str:
    """`expression` with the label `runbook`, put in by `alertname` as the rule files have it."""
    return reduce(
        lambda inner, page: (
            f'label_replace({inner}, "runbook", "{page[0]}.md", "alertname", "{"|".join(page[1])}")'
        ),
        levels.runbooks().items(),
        expression,
    )


def tagged(expression: str, label: str, text: str, source: str = "") -> str:
    """`expression` with `label` set to `text`, where $1 stands for the label `source`."""
    pattern = "(.*)" if source else ""
    return f'label_replace({expression}, "{label}", "{text}", "{source}", "{pattern}")'
