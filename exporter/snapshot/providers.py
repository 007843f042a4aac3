"""What managed services hold back of `max_connections` beyond what Postgres' own settings show.

Only figures that a provider documents are here; docs/providers.md has the same table for people.

- rds, aurora: `rds.rds_superuser_reserved_connections`, 2 by default, and from 13.17, 14.14, 15.9,
  16.5 and 17.1 on `rds.rds_reserved_connections`. Both are read from the server.
  https://repost.aws/knowledge-center/rds-postgresql-error-connection-slots
  https://docs.aws.amazon.com/AmazonRDS/latest/PostgreSQLReleaseNotes/postgresql-versions.html
- azure (Flexible Server): 15 connections in all, whatever the size.
  https://learn.microsoft.com/azure/postgresql/flexible-server/concepts-limits
- neon: 7 connections in all. https://neon.com/docs/connect/connection-pooling
- cloudsql, supabase: no figure is documented; it must be configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Slots that are reserved in all, those that the settings show among them.
_TOTAL: Mapping[str, int] = {"azure": 15, "neon": 7}
_RDS = ("rds", "aurora")
#: The default of rds.rds_superuser_reserved_connections. From 16 on those slots are in
#: reserved_connections, and a server that shows neither setting holds nothing else back.
_RDS_DEFAULT = 2
_VERSION_16 = 160000


@dataclass(frozen=True, slots=True)
class Reserve:
    """What the configuration says: the provider's name, "" for none, and a number over it."""

    provider: str = ""
    slots: int | None = None

    def beyond(self, shown: int, rds: int | None, version_num: int) -> int:
        """Slots held back beyond the settings, 0 or more.

        Args:
            shown: superuser_reserved_connections and reserved_connections together.
            rds: the sum of the settings that only RDS has, None where it shows none.
            version_num: as in server_version_num.

        >>> Reserve("azure").beyond(shown=3, rds=None, version_num=160004)
        12
        >>> Reserve("rds").beyond(shown=3, rds=6, version_num=150009)
        6
        """
        if self.slots is not None:
            return self.slots
        if self.provider in _RDS:
            default = _RDS_DEFAULT if version_num < _VERSION_16 else 0
            return default if rds is None else rds
        return max(0, _TOTAL.get(self.provider, 0) - shown)
