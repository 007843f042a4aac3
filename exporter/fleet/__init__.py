"""The watched servers and poolers: a source, a watch and jobs for each, as configured."""

from __future__ import annotations

from exporter.fleet.fleet import Fleet
from exporter.fleet.member import make_alerter

__all__ = ["Fleet", "make_alerter"]
