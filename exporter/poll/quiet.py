"""What every decision looks at beside its own endpoint: the silences, and what fires elsewhere."""

from __future__ import annotations

from exporter.alerting.muting import Around, Labels
from exporter.alerting.silences import Silence


class Quiet:
    """What the whole process knows about noise. The loop's alone, not thread-safe."""

    def __init__(self) -> None:
        self.silences: tuple[Silence, ...] = ()
        self._firing: dict[str, tuple[Labels, ...]] = {}

    def around(self, key: str) -> Around:
        """What a decision about the endpoint `key` rests on: the silences, what fires elsewhere."""
        others = (found for each, found in self._firing.items() if each != key)
        return Around(self.silences, tuple(labels for found in others for labels in found))

    def fires(self, key: str, labels: tuple[Labels, ...]) -> None:
        """Note what fires at the endpoint `key`; nothing once it is no longer watched."""
        if labels:
            self._firing[key] = labels
        else:
            self._firing.pop(key, None)
