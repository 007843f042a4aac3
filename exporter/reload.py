"""Reads the configuration: at the start, on SIGHUP, and when its files have changed.

One that cannot be used is refused as a whole, and the one in force goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.config.alerting import Rules
from exporter.config.credentials import Credentials
from exporter.config.difference import difference, kept_fixed
from exporter.config.errors import ConfigError, Problem
from exporter.config.files import Changes, fingerprint
from exporter.config.load import load
from exporter.config.model import Config
from exporter.rules.evaluate import RuleSet
from exporter.rules.load import load_rules
from exporter.sources.credentials import addresses, check_dsn, check_login

log = logging.getLogger(__name__)


class Checks:
    """What the configuration cannot check by itself."""

    def check_dsn(self, dsn: str) -> None:
        """See `exporter.config.load.Checks`."""
        check_dsn(dsn)

    def check_login(self, credentials: Credentials) -> None:
        """See `exporter.config.load.Checks`."""
        check_login(credentials)

    def rule_problems(self, rules: Rules) -> Sequence[str]:
        """See `exporter.config.load.Checks`."""
        return load_rules(rules)[1]

    def address(self, dsn: str) -> str:
        """See `exporter.config.load.Checks`."""
        try:
            return addresses(dsn)[0]
        except ValueError:
            return ""


def read_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration, checked as far as no server is needed for it.

    Raises:
        ConfigError: with every problem.
    """
    return load(path, environ, Checks())


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration comes from; `changes` are what the command line puts over it."""

    path: Path | None
    environ: Mapping[str, str] = field(repr=False)
    changes: Mapping[str, object] = field(default_factory=dict)

    def read(self) -> Config:
        """The configuration as it is now.

        Raises:
            ConfigError: with every problem.
        """
        return read_config(self.path, self.environ).model_copy(update=dict(self.changes))

    def fingerprint(self, config: Config) -> str:
        """What the files come to; always the same where there are none."""
        return "" if self.path is None else fingerprint(self.path, config)


def rules_of(config: Config) -> RuleSet:
    """The rules that `config` asks for.

    Raises:
        ConfigError: a rule file has changed since `config` was read, and cannot be used.
    """
    rules, problems = load_rules(config.rules)
    if problems:
        raise ConfigError("rules", [Problem("rules", problem) for problem in problems])
    return RuleSet(rules)


PutInForce = Callable[[Config, RuleSet], Awaitable[None]]


class Reloader:
    """Waits for a reason to read the configuration again, and does it.

    Args:
        origin: where it is read.
        config: what is in force.
        put_in_force: called with what differs from that.
        clock: Unix seconds.
    """

    def __init__(
        self, origin: Origin, config: Config, put_in_force: PutInForce, clock: Callable[[], float]
    ) -> None:
        self._origin = origin
        self._config = config
        self._put_in_force = put_in_force
        self._clock = clock
        self._asked = asyncio.Event()
        self.successful = True
        """Whether what was last read could be used."""
        self.succeeded_at = clock()
        """When it last could be."""

    def ask(self) -> None:
        """Read it again soon, changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        changes = Changes(await self._fingerprint())
        while True:
            # Not wait_for, which loses a cancellation that comes with the answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(changes.pause):
                    await self._asked.wait()
            found = await self._fingerprint()
            changed = self._config.watch and changes.look(found)
            if self._asked.is_set() or changed:
                self._asked.clear()
                changes = Changes(await self._reload(found))

    async def _fingerprint(self) -> str:
        return await asyncio.to_thread(self._origin.fingerprint, self._config)

    async def _reload(self, found: str) -> str:
        """Read and use what is there; the fingerprint to compare with from now on."""
        before = self._config
        try:
            self._config = await self._used(before)
        except ConfigError as error:
            self.successful = False
            problems = "; ".join(map(str, error.problems))
            keys = {"file": error.origin, "problems": problems}
            log.error("configuration refused, the one before goes on", extra=keys)  # noqa: TRY400  the problems are the event
        except Exception:
            self.successful = False
            log.exception("configuration not put in force")
        else:
            self.successful, self.succeeded_at = True, self._clock()
        if _files(before) == _files(self._config):
            return found
        return await self._fingerprint()

    async def _used(self, before: Config) -> Config:
        read, rules = await asyncio.to_thread(self._read)
        change = difference(before, read)
        if change.restart:
            keys = {"keys": ", ".join(change.restart)}
            log.warning("changed keys wait for a restart", extra=keys)
        config = kept_fixed(before, read)
        await self._put_in_force(config, rules)
        keys = {
            "added": ", ".join(change.added) or "none",
            "removed": ", ".join(change.removed) or "none",
            "changed": ", ".join(change.changed) or "none",
        }
        log.info("configuration reloaded", extra={**keys, "servers": len(config.servers)})
        return config

    def _read(self) -> tuple[Config, RuleSet]:
        config = self._origin.read()
        return config, rules_of(config)


def _files(config: Config) -> tuple[object, ...]:
    """What a fingerprint is taken of."""
    return config.include, config.rules.files, config.web.files
