"""`pgheadroom run`: the watcher itself."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import click

from exporter.app import App
from exporter.cli.options import config_option, fail
from exporter.cli.reading import address, origin_of, read
from exporter.config import events
from exporter.config.errors import ConfigError
from exporter.config.model import Config, WebFile
from exporter.config.web import load_web
from exporter.notify.lock import StateDirBusyError
from exporter.reload import Origin
from exporter.web.server import ListenError


@click.command()
@config_option()
@click.option("--listen", callback=address, metavar="HOST:PORT", help="Instead of the file's.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where alerts, incidents and undelivered notifications are kept.",
)
@click.option(
    "--web-config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A Prometheus web.config.yml, for TLS and log-in.",
)
def run(
    path: Path | None, listen: str | None, state_dir: Path | None, web_config: Path | None
) -> None:
    """Watch, export and page until SIGTERM."""
    origin = origin_of(path, listen=listen, state_dir=state_dir, web=_web(web_config))
    config = read(origin)
    events.set_up(config.log)
    try:
        asyncio.run(_run(config, origin))
    except (ConfigError, ListenError, StateDirBusyError) as error:
        fail(str(error))


async def _run(config: Config, origin: Origin) -> None:
    await App(config, origin).run()
    # Before the loop waits for its threads: in one, a name look-up or a request that nobody can
    # end may hang.
    logging.shutdown()
    # Nobody's, where a supervisor started us without one.
    if sys.stdout is not None:
        sys.stdout.flush()
    os._exit(0)


def _web(path: Path | None) -> WebFile | None:
    """Where TLS and log-in are set, or exit status 2."""
    if path is None:
        return None
    try:
        load_web(path)
    except ConfigError as error:
        fail(str(error))
    return WebFile(config_file=path)
