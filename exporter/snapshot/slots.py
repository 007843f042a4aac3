"""How many slots there are, and how many of them an application can have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that bound connections.

    `provider_reserved` is what a managed service holds back beyond what the settings show
    (exporter/snapshot/providers.py).
    """

    max_connections: int
    superuser_reserved_connections: int
    reserved_connections: int = 0
    provider_reserved: int = 0

    @property
    def reserved(self) -> int:
        """Slots that an ordinary role cannot have."""
        return (
            self.superuser_reserved_connections + self.reserved_connections + self.provider_reserved
        )

    @property
    def usable(self) -> int:
        """Slots that an ordinary role can have, at least 1.

        Measured on 13 to 18: `max_connections - superuser_reserved_connections -
        reserved_connections` plain logins succeed, the next is refused (pg-facts A).

        >>> Limits(max_connections=100, superuser_reserved_connections=3).usable
        97
        """
        return max(1, self.max_connections - self.reserved)

    def free(self, used: int) -> int:
        """Headroom: usable slots that are not taken, never below 0."""
        return max(0, self.usable - used)

    def used_ratio(self, used: int) -> float:
        """Slots in use over usable slots; passes 1 when reserved slots are taken too."""
        return used / self.usable

    def max_used_ratio(self, used: int) -> float:
        """Slots in use over `max_connections`."""
        return used / max(1, self.max_connections)
