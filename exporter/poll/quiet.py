"""What every decision looks at beside its own endpoint: the silences, and what fires elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from exporter.alerting.muting import Around, Labels
from exporter.alerting.silences import Silence


class Quiet:
    """What the whole process knows about noise. The loop's alone, not thread-safe.

    `clock` is Unix seconds as the machine has them: silences and mutes name hours of the day, so a
    clock that was wrong at the start must not stay wrong for them, as the steady one does.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.silences: tuple[Silence, ...] = ()
        self._firing: dict[str, tuple[Labels, ...]] = {}

    def around(self, key: str) -> Around:
        """What a decision about the endpoint `key` rests on: the silences, what fires elsewhere."""
        others = (found for each, found in self._firing.items() if each != key)
        firing = tuple(labels for found in others for labels in found)
        return Around(self.silences, firing, self.clock())

    def fires(self, key: str, labels: tuple[Labels, ...]) -> None:
        """Note what fires at the endpoint `key`; nothing once it is no longer watched."""
        if labels:
            self._firing[key] = labels
        else:
            self._firing.pop(key, None)
