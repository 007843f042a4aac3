"""Pages as Chromium lays them out, on a screen as wide as a telephone's."""

from __future__ import annotations

import re
import subprocess
from html import escape
from pathlib import Path

from tests.support.parts import program

_SECONDS = 60
#: As root it has no sandbox; and it asks nobody for anything, on a machine without a network.
_ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
)
#: A window is never narrower than 500 px; a frame in it may be, and too high for a scroll bar.
_FRAME = """<!doctype html><iframe width="{width}" height="9000" frameborder="0" srcdoc="{page}"
onload="const d=this.contentDocument.documentElement;document.title=d.scrollWidth"></iframe>"""


def laid_out_width(html: str, width: int, folder: Path) -> int:
    """Pixels that `html` needs from side to side where there are `width`; more means scrolling."""
    chromium = program("chromium", "chromium")
    page = folder / "page.html"
    page.write_text(_FRAME.format(width=width, page=escape(html)), encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [chromium, *_ALONE, profile, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    (title,) = re.findall(r"<title>(\d+)</title>", done.stdout)
    return int(title)
