"""Whether the files of a configuration have changed, by their contents.

Contents alone are compared: an editor's new inode, `kubectl`'s swap of the `..data` link and a
`touch` all leave other traces, and only the first two may matter. Nobody is asked to tell us, as
inotify does not see changes on network file systems or through a mount.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from exporter.config.include import included_files
from exporter.config.model import Config

#: Seconds from one look to the next. A change counts once a second look agrees on it, so that a
#: file that is still being written, or half of a set of files, is not taken.
LOOK_SECONDS = 5.0
AGAIN_SECONDS = 1.0


def fingerprint(path: Path, config: Config) -> str:
    """What the contents of `path`, the files it includes, its rule files and TLS come to.

    A file that cannot be read counts as one with other contents: its absence is a change too.
    Secret files are not looked at; they are read whenever they are used.
    """
    included, _ = included_files(list(config.include), path.absolute().parent)
    digest = hashlib.sha256()
    for file in (path, *included, *config.rules.files, *config.web.files):
        try:
            contents = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            contents = type(error).__name__
        digest.update(f"{file}\0{contents}\0".encode())
    return digest.hexdigest()


class Changes:
    """Looks at fingerprints, and tells a change once it has settled."""

    def __init__(self, known: str) -> None:
        self._known = known
        self._seen = known

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return LOOK_SECONDS if self._seen == self._known else AGAIN_SECONDS

    def look(self, found: str) -> bool:
        """Whether there is a change to act on: `found` differs and is what the last look found."""
        settled, self._seen = found == self._seen, found
        if found == self._known or not settled:
            return False
        self._known = found
        return True
