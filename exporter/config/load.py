"""A YAML file, or the environment alone, becomes a `Config` or a `ConfigError`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from exporter.config.alerting import PAGERDUTY_ENQUEUE, Rules
from exporter.config.credentials import Credentials
from exporter.config.document import read_document
from exporter.config.errors import ConfigError, Problem, problems_of
from exporter.config.include import Merger, included_files
from exporter.config.model import Config

#: Lists whose entries are told apart by their names.
NAMED = ("servers", "poolers", "receivers")
_REFERENCE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")


class Checks(Protocol):
    """What only other rooms can tell of a value; handed in, because config imports nobody."""

    def check_dsn(self, dsn: str) -> None:
        """Raise ValueError with one sentence, without the password, if `dsn` cannot be parsed."""

    def check_login(self, credentials: Credentials) -> None:
        """Raise ValueError with one sentence if no password can come of `credentials`."""

    def rule_problems(self, rules: Rules) -> Sequence[str]:
        """What is wrong with these rule files and overrides, a sentence each."""

    def address(self, dsn: str) -> str:
        """Where `dsn` leads first: HOST:PORT, or "" if it cannot be parsed."""


@dataclass(frozen=True, slots=True)
class Context:
    """The validation context: the checks, and the folder that relative paths start from."""

    checks: Checks
    base: Path

    def check_dsn(self, dsn: str) -> None:
        """See `Checks.check_dsn`."""
        self.checks.check_dsn(dsn)

    def check_login(self, credentials: Credentials) -> None:
        """See `Checks.check_login`."""
        self.checks.check_login(credentials)

    def rule_problems(self, rules: Rules) -> Sequence[str]:
        """See `Checks.rule_problems`."""
        return self.checks.rule_problems(rules)


def load(path: Path | None, environ: Mapping[str, str], checks: Checks) -> Config:
    """The configuration of `path`, or of the environment where there is no file.

    Raises:
        ConfigError: with every problem found.
    """
    if path is None:
        return _validated(
            _from_environment(environ, checks), "environment", Context(checks, Path.cwd())
        )
    # Not resolved: the files of a Kubernetes ConfigMap are links into a folder that goes away.
    base = path.absolute().parent
    raw, problems = _interpolated(read_document(path), environ)
    whole = _with_included(raw, base, environ)
    found = [*problems, *whole.problems]
    return _validated(whole.raw, str(path), Context(checks, base), found, whole.located)


def _with_included(raw: dict[str, Any], base: Path, environ: Mapping[str, str]) -> Merger:
    """`raw` with the lists of the files that it includes, and what is wrong with those."""
    files, problems = included_files(raw.get("include"), base)
    whole = Merger({"servers": [], **raw} if files else raw, problems)
    for file in files:
        origin = str(file.relative_to(base) if file.is_relative_to(base) else file)
        try:
            own, unset = _interpolated(read_document(file), environ)
        except ConfigError as error:
            problems += [Problem(origin, problem.message) for problem in error.problems]
            continue
        problems += [Problem(f"{origin}: {each.where}", each.message) for each in unset]
        whole.add(origin, own)
    return whole


def _interpolated(
    raw: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """`raw` with `${NAME}` and `${NAME:-default}` filled in from the environment; `$$` is a `$`."""
    problems: list[Problem] = []

    def text(value: str, where: str) -> str:
        def replace(found: re.Match[str]) -> str:
            if found[1] is None:
                return "$"
            default: str | None = found[2]
            if found[1] not in environ and default is None:
                problems.append(Problem(where, f"the environment variable {found[1]} is not set"))
            return environ.get(found[1], default or "")

        return _REFERENCE.sub(replace, value)

    def walk(value: Any, where: str) -> Any:  # noqa: ANN401  a parsing edge: YAML gives anything
        if isinstance(value, str):
            return text(value, where)
        if isinstance(value, dict):
            return {k: walk(v, f"{where}.{k}" if where else str(k)) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return value

    return walk(raw, ""), problems


def _validated(
    raw: dict[str, Any],
    origin: str,
    context: Context,
    problems: Sequence[Problem] = (),
    located: Callable[[Iterator[Problem]], Iterator[Problem]] = iter,
) -> Config:
    twins = (twin for section in NAMED for twin in _twins(raw, section))
    found = [*problems, *located(twins)]
    try:
        config = Config.model_validate(raw, context=context)
    except ValidationError as error:
        reported = {problem.where for problem in found}
        invalid = located(problems_of(error, Config))
        found += [each for each in invalid if each.where not in reported]
        raise ConfigError(origin, found) from None
    if found:
        raise ConfigError(origin, found)
    return config


def _twins(raw: dict[str, Any], section: str) -> Iterator[Problem]:
    """Entries that share a name; seen in the raw list, so that no other mistake hides them."""
    entries = raw.get(section)
    first: dict[str, int] = {}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        if name in first:
            yield Problem(
                f"{section}[{index}].name",
                f"{name!r} is already the name of {section}[{first[name]}]; names must differ",
            )
        first.setdefault(name, index)


def _from_environment(environ: Mapping[str, str], checks: Checks) -> dict[str, Any]:
    """What the variables say; the names are the vendors' and the platforms' usual ones."""
    dsn = environ.get("DATABASE_URL", "")
    if not dsn:
        raise ConfigError(
            "environment",
            [Problem("DATABASE_URL", "not set; set it, or give a file with --config FILE")],
        )
    receivers: list[dict[str, Any]] = []
    if key := environ.get("PAGERDUTY_ROUTING_KEY"):
        url = environ.get("PAGERDUTY_URL") or PAGERDUTY_ENQUEUE
        receivers.append({"name": "pagerduty", "type": "pagerduty", "routing_key": key, "url": url})
    if webhook := environ.get("SLACK_WEBHOOK_URL"):
        receivers.append({"name": "slack", "type": "slack", "webhook_url": webhook})
    server = {"name": _server_name(checks.address(dsn)), "dsn": dsn}
    raw: dict[str, Any] = {"servers": [server], "receivers": receivers}
    if console := environ.get("PGBOUNCER_URL"):
        raw["poolers"] = [{"name": "pgbouncer", "server": server["name"], "dsn": console}]
    return raw


def _server_name(address: str) -> str:
    """A name of which no two servers have the same: it is part of every dedup key."""
    host = address.removesuffix(":5432").rsplit("/", 1)[-1]
    return re.sub(r"[^\w.:-]", "_", host.replace("[", "").replace("]", "")) or "postgres"
