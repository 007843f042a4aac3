"""`pgheadroom check`: one poll, and what came of it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from exporter.alerting.words import role_words
from exporter.check import Checked, worst
from exporter.check import check as look
from exporter.cli.lines import print_line
from exporter.cli.options import WORDS, config_option, json_option
from exporter.cli.reading import origin_of, read
from exporter.notify.words import as_is, behind_lines


@click.command()
@config_option()
@json_option
def check(path: Path | None, *, as_json: bool) -> None:
    """Poll every server and pooler once. Exit status 0 ok, 1 warning, 2 critical, 3 not seen."""
    config = read(origin_of(path))
    logging.getLogger().addHandler(logging.NullHandler())
    checked = asyncio.run(look(config))
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in checked], indent=2))
    else:
        for each in checked:
            _print_checked(each)
    sys.exit(worst(checked))


def _print_checked(checked: Checked) -> None:
    situation = checked.situation
    print_line(f"{checked.name}  {WORDS[checked.code]}", bold=True)
    failure = f"{checked.tried}: {situation.failure}" if situation.failure else ""
    for line in (failure, situation.arithmetic, checked.probe, *checked.warnings):
        if line:
            print_line(f"  {line}")
    if situation.states:
        states = ", ".join(f"{count} {state}" for state, count in situation.states.items())
        print_line(f"  {states}")
    for finding in checked.findings:
        print_line(f"  {finding.severity}: {finding.summary} [{finding.alertname}]")
    if situation.top_role is not None:
        print_line(f"  {role_words(situation.top_role)}")
    _print_list("top holders", [f"{each.used:>5}  {each.name}" for each in situation.holders])
    _print_list("in a transaction, behind a pooler", behind_lines(situation, as_is, addresses=True))
    waiting = [f"{each.used:>5}  {each.name}" for each in situation.applications_waiting]
    _print_list("clients waiting", waiting)


def _print_list(title: str, lines: Sequence[str]) -> None:
    """`lines` under `title`; nothing where there are none."""
    if lines:
        print_line(f"  {title}")
    for line in lines:
        print_line(f"    {line}")
