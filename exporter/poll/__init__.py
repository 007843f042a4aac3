"""One turn for one endpoint, server or pooler: fetch, derive, store, evaluate, enqueue."""

from __future__ import annotations

from exporter.poll.attribution import LOOK_SECONDS, Attributor, Front, Scene, look_behind
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
    "LOOK_SECONDS",
    "Attributor",
    "ColdStart",
    "Desk",
    "Front",
    "Journal",
    "Plan",
    "PoolerPlan",
    "PoolerSource",
    "PoolerWatch",
    "Scene",
    "SelfWatch",
    "Silencing",
    "Source",
    "Turns",
    "Watch",
    "look_behind",
    "pooler_key",
]
