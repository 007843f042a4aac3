"""One thing that is wrong with a setting: the numbers, what to set, and who says so."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.alerting.notification import Severity

POSTGRES = "https://www.postgresql.org/docs/current/"
PGBOUNCER = "https://www.pgbouncer.org/config.html"


@dataclass(frozen=True, slots=True)
class Advice:
    """What is wrong, with its numbers, and what to set.

    `name` is a short word that scripts can look for, such as `pools_oversubscribed`; `source` the
    address of the page that the rule or formula is from. Severity info is a thing to know, and has
    no part in the exit code.
    """

    name: str
    severity: Severity
    found: str
    set: str
    source: str
