"""A physical standby of a running server, as pg_basebackup makes one."""

from __future__ import annotations

from exporter.demo.binaries import run_as_user
from exporter.demo.postgres import EmbeddedPostgres
from tests.support.binaries import programs


class Standby(EmbeddedPostgres):
    """Follows `primary` until it is promoted; a context manager that starts and stops it."""

    def __init__(self, primary: EmbeddedPostgres) -> None:
        super().__init__(primary.major, primary._settings, bin_dir=programs(primary.major))
        self._primary = primary

    def promote(self, *, wait: bool = False) -> None:
        """Ask it to become a primary; it is one a moment later, or with `wait` now."""
        self.psql(f"select pg_promote(wait => {wait})")

    def _fill(self) -> None:
        options = ("-D", self.data_dir, "-d", self._primary.dsn(), "-R", "-X", "stream")
        quick = ("-c", "fast", "--no-sync", "--no-manifest")
        run_as_user([self.clients / "pg_basebackup", *options, *quick], cwd=self.socket_dir)
