"""`pgheadroom rules check|test|render`: the rules as this pgheadroom and Prometheus have them."""

from __future__ import annotations

import os
import sys
from glob import glob
from pathlib import Path

import click
import yaml

from exporter.alerting.rule_tests import failures
from exporter.cli.options import config_option, fail
from exporter.config.alerting import Rules
from exporter.config.errors import ConfigError
from exporter.reload import read_config
from exporter.rules.load import load_rules, parse_texts
from exporter.rules.model import Rule
from exporter.rules.render import dumped, duration_text, groups_of, render
from exporter.rules.texts import read_yaml

_config_option = config_option("the shipped rules are meant")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _settings(path: Path | None) -> Rules:
    """The rules of the configuration, or exit status 2."""
    if path is None:
        return Rules()
    try:
        return read_config(path, os.environ).rules
    except ConfigError as error:
        fail(str(error))


def _loaded(settings: Rules) -> tuple[Rule, ...]:
    rules, problems = load_rules(settings)
    if problems:
        fail("\n".join(problems))
    return rules


@click.group()
def rules() -> None:
    """The alerting rules."""


@rules.command()
@_config_option
@click.argument("files", nargs=-1, type=_FILE)
def check(path: Path | None, files: tuple[Path, ...]) -> None:
    """Say everything that is wrong with the rules, or list them. FILES are checked beside them."""
    settings = _settings(path)
    more = settings.model_copy(update={"files": (*settings.files, *files)})
    found = _loaded(more)
    width = max((len(rule.name) for rule in found), default=0)
    for rule in found:
        held = f"for {duration_text(rule.for_seconds)}" if rule.for_seconds else "at once"
        click.echo(f"{rule.name:<{width}}  {rule.severity:<8}  {rule.family:<18}  {held}")
    click.echo(f"{len(found)} rules: fine.")


@rules.command()
@_config_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Instead of stdout.")
def render_command(path: Path | None, out: Path | None) -> None:
    """Write the rule files with the configuration's overrides applied, ready for Prometheus."""
    settings = _settings(path)
    _loaded(settings)
    texts = render(settings)
    names = [Path(origin).name for origin in texts]
    if out is None:
        # One file: the groups of all, whose names Prometheus wants to differ within it.
        groups = [group for text in texts.values() for group in groups_of(text)]
        click.echo(dumped(groups), nl=False)
        return
    if len(set(names)) < len(names):
        fail("two rule files have the same name; they would overwrite one another")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in zip(names, texts.values(), strict=True):
            (out / name).write_text(text, encoding="utf-8")
            click.echo(str(out / name))
    except OSError as error:
        fail(f"{out}: cannot be written: {error.strerror}")


@rules.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
def test(files: tuple[Path, ...]) -> None:
    """Run promtool's unit test FILES with the engine that pages. Exit status 1 if one fails."""
    failed = False
    for file in files:
        try:
            found = _tested(file)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            fail(f"{file}: not a test file that can be run: {error}")
        failed = failed or bool(found)
        click.echo(f"{file}: {'FAILED' if found else 'ok'}")
        for problem in found:
            click.echo(f"  {problem}")
    sys.exit(1 if failed else 0)


def _tested(file: Path) -> list[str]:
    document = read_yaml(file.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise TypeError("a test file is a mapping with `rule_files` and `tests`")
    patterns = document.get("rule_files") or []
    if not isinstance(patterns, list):
        raise TypeError("`rule_files` is a list of files")
    texts = {
        str(path): path.read_text(encoding="utf-8")
        for pattern in patterns
        for path in _matching(file.parent, str(pattern))
    }
    found, problems = parse_texts(texts)
    return [*problems, *([] if problems else failures(document, found))]


def _matching(folder: Path, pattern: str) -> list[Path]:
    """The files that `pattern` means, as promtool reads it: from the test file's folder."""
    # Not Path.glob: a pattern may be absolute, and `**` is no more than `*` to promtool.
    found = glob(pattern, root_dir=folder, include_hidden=True)  # noqa: PTH207  see above
    return [folder / name for name in sorted(found) or [pattern]]


rules.add_command(render_command, "render")
