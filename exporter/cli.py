"""The commands; nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from exporter import __version__
from exporter.app import App
from exporter.check import Checked, check, worst
from exporter.config import events
from exporter.config.errors import ConfigError
from exporter.config.model import DEFAULT_LISTEN, Config, WebFile, listen_address
from exporter.config.web import load_web
from exporter.doctor.command import doctor
from exporter.healthcheck import trouble
from exporter.notify.lock import StateDirBusyError
from exporter.notify.trial import try_receivers
from exporter.notify.words import as_is, behind_lines
from exporter.reload import Origin
from exporter.rule_commands import rules
from exporter.silence import silence
from exporter.sources.grants import grants_sql
from exporter.web.server import ListenError

BAD_INPUT = 2
Command = TypeVar("Command", bound=Callable[..., Any])
_config_option = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="PGHEADROOM_CONFIG",
    help="The YAML file. Without it DATABASE_URL, SLACK_WEBHOOK_URL and PAGERDUTY_ROUTING_KEY do.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


def _fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    click.echo(f"pgheadroom: {message}", err=True)
    sys.exit(code)


def _origin(path: Path | None, **changes: object) -> Origin:
    """Where the configuration is, and the command line's values that go over it."""
    return Origin(path, os.environ, {k: v for k, v in changes.items() if v is not None})


def _read(origin: Origin) -> Config:
    """The configuration, or exit status 2."""
    try:
        return origin.read()
    except ConfigError as error:
        _fail(str(error))


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            listen_address(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pgheadroom")
def main() -> None:
    """Page before Postgres runs out of connections, and say who is eating them."""


@main.command()
@_config_option
@click.option("--listen", callback=_address, metavar="HOST:PORT", help="Instead of the file's.")
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
    origin = _origin(path, listen=listen, state_dir=state_dir, web=_web(web_config))
    config = _read(origin)
    events.set_up(config.log)
    try:
        asyncio.run(_run(config, origin))
    except (ConfigError, ListenError, StateDirBusyError) as error:
        _fail(str(error))
    # A name look-up that hangs sits in a thread that nobody can end; it must not keep us.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


async def _run(config: Config, origin: Origin) -> None:
    await App(config, origin).run()


def _web(path: Path | None) -> WebFile | None:
    """Where TLS and log-in are set, or exit status 2."""
    if path is None:
        return None
    try:
        load_web(path)
    except ConfigError as error:
        _fail(str(error))
    return WebFile(config_file=path)


@main.command("check")
@_config_option
@_json_option
def check_command(path: Path | None, *, as_json: bool) -> None:
    """Poll every server and pooler once. Exit status 0 ok, 1 warning, 2 critical, 3 not seen."""
    config = _read(_origin(path))
    logging.getLogger().addHandler(logging.NullHandler())
    checked = asyncio.run(check(config))
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in checked], indent=2))
    else:
        for each in checked:
            _print_checked(each)
    sys.exit(worst(checked))


def _print_checked(checked: Checked) -> None:
    words = {0: "ok", 1: "WARNING", 2: "CRITICAL", 3: "NOT SEEN"}
    situation = checked.situation
    click.secho(f"{checked.name}  {words[checked.code]}", bold=True)
    failure = f"{checked.tried}: {situation.failure}" if situation.failure else ""
    for line in (failure, situation.arithmetic, checked.probe, *checked.warnings):
        if line:
            click.echo(f"  {line}")
    if situation.states:
        states = ", ".join(f"{count} {state}" for state, count in situation.states.items())
        click.echo(f"  {states}")
    for finding in checked.findings:
        click.echo(f"  {finding.severity}: {finding.summary} [{finding.alertname}]")
    _print_list("top holders", [f"{each.used:>5}  {each.name}" for each in situation.holders])
    _print_list("in a transaction, behind a pooler", behind_lines(situation, as_is, addresses=True))
    waiting = [f"{each.used:>5}  {each.name}" for each in situation.applications_waiting]
    _print_list("clients waiting", waiting)


def _print_list(title: str, lines: Sequence[str]) -> None:
    """`lines` under `title`; nothing where there are none."""
    if lines:
        click.echo(f"  {title}")
    for line in lines:
        click.echo(f"    {line}")


@main.command()
@click.option("--url", default=f"http://{DEFAULT_LISTEN}", show_default=True, help="Where it is.")
@click.option("--servers", is_flag=True, help="Every server has to be seen, too.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="Ask again for so long.")
@click.option("--insecure", is_flag=True, help="Take any certificate.")
def healthcheck(url: str, wait: float, *, servers: bool, insecure: bool) -> None:
    """Ask a running pgheadroom whether it is ready. Exit status 1 if it is not."""
    found = trouble(url, wait, servers=servers, insecure=insecure)
    if found:
        _fail(found, 1)
    click.echo("every server is seen" if servers else "ready")


@main.group("config")
def config_group() -> None:
    """The configuration file."""


@config_group.command("check")
@_config_option
def config_check(path: Path | None) -> None:
    """Say everything that is wrong with it. No server is asked."""
    config = _read(_origin(path))
    names = ", ".join(server.name for server in config.servers)
    receivers = ", ".join(each.name for each in config.receivers) or "none: nobody will be told"
    click.echo(f"{path or 'environment'}: fine. Servers: {names}. Receivers: {receivers}.")


@config_group.command("schema")
def config_schema() -> None:
    """Print its JSON schema."""
    click.echo(json.dumps(Config.model_json_schema(), indent=2))


@main.command()
@click.option("--role", default="pgheadroom", show_default=True, help="The role to make.")
def grants(role: str) -> None:
    """Print the SQL that an administrator runs once."""
    try:
        click.echo(grants_sql(role), nl=False)
    except ValueError as error:
        _fail(f"--role: {error}")


@main.group()
def notify() -> None:
    """The receivers."""


@notify.command("test")
@_config_option
@click.option("--receiver", "names", multiple=True, help="Only this one; may be repeated.")
def notify_test(path: Path | None, names: tuple[str, ...]) -> None:
    """Send a test notification to each receiver. Exit status 1 if one of them fails."""
    config = _read(_origin(path))
    known = [each.name for each in config.receivers]
    for name in names:
        if name not in known:
            _fail(f"--receiver: none is named {name!r}; there are: {', '.join(known) or 'none'}")
    chosen = [each for each in config.receivers if not names or each.name in names]
    if not chosen:
        _fail("no receiver is configured; add one under receivers:, or set SLACK_WEBHOOK_URL")
    failed = False
    for name, error in try_receivers(chosen, config.install_id):
        failed = failed or error is not None
        click.echo(f"{name}: {'delivered' if error is None else f'failed: {error}'}")
    sys.exit(1 if failed else 0)


main.add_command(doctor)
main.add_command(rules)
main.add_command(silence)


@main.command()
@click.option(
    "--speed", default=1.0, show_default=True, help="Shortens the launch this many times."
)
@click.option("--keep", is_flag=True, help="Leave everything up afterwards, until Ctrl-C.")
@click.option("--postgres", default=16, show_default=True, help="The major version: 16 or 18.")
@click.option("--listen", callback=_address, metavar="HOST:PORT", help="Where to serve /metrics.")
def demo(speed: float, postgres: int, listen: str | None, *, keep: bool) -> None:
    """Replay a product launch against an embedded Postgres; the page must beat the refusal."""
    from exporter.demo.launch import DemoOptions, run_demo  # noqa: PLC0415  an extra's imports

    sys.exit(run_demo(DemoOptions(speed=speed, keep=keep, postgres=postgres, listen=listen)))
