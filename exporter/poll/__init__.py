"""One turn for one endpoint, server or pooler: fetch, derive, store, evaluate, enqueue."""

from __future__ import annotations

from exporter.poll.cold_start import ColdStart
from exporter.poll.desk import Desk, Journal
from exporter.poll.own import SelfWatch
from exporter.poll.pooler import PoolerPlan, PoolerSource, PoolerWatch, pooler_key
from exporter.poll.server import CLIMBING_RATIO, KEPT, Plan, Source, Watch
from exporter.poll.silencing import Silencing
from exporter.poll.turns import Turns

__all__ = [
    "CLIMBING_RATIO",
    "KEPT",
    "ColdStart",
    "Desk",
    "Journal",
    "Plan",
    "PoolerPlan",
    "PoolerSource",
    "PoolerWatch",
    "SelfWatch",
    "Silencing",
    "Source",
    "Turns",
    "Watch",
    "pooler_key",
]
