"""Parts that a machine may lack: a person's run skips what needs them, CI fails and says which."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """End the test for want of a part; `reason` says what to install."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have every part: {reason}")
    pytest.skip(reason)


@contextlib.contextmanager
def needing(*errors: type[Exception]) -> Iterator[None]:
    """Take any of `errors` for a part that is lacking."""
    try:
        yield
    except errors as error:
        lacking(str(error))


def program(name: str, package: str) -> str:
    """The path of a program that Debian's `package` brings."""
    found = shutil.which(name)
    return found or lacking(f"no {name}; sudo apt-get install {package}")
