"""Pages as Chromium lays them out, on a screen as wide as a telephone's."""

from __future__ import annotations

import re
import subprocess
from html import escape
from pathlib import Path

from tests.support.parts import program

_SECONDS = 60
#: A window is never narrower than 500 px; a frame in it may be, and too high for a scroll bar.
_FRAME = """<!doctype html><iframe width="{width}" height="9000" frameborder="0" srcdoc="{page}"
onload="const d=this.contentDocument.documentElement;document.title=d.scrollWidth"></iframe>"""


def laid_out_width(html: str, width: int, folder: Path) -> int:
    """Pixels that `html` needs from side to side where there are `width`; more means scrolling."""
    chromium = program("chromium", "chromium")
    page = folder / "page.html"
    page.write_text(_FRAME.format(width=width, page=escape(html)), encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu",
               f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    (title,) = re.findall(r"<title>(\d+)</title>", done.stdout)
    return int(title)
