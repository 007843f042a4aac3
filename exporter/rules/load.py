"""Which rules are evaluated: the shipped pack, the operator's files, and the changes in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from exporter.config.alerting import RuleOverride, Rules
from exporter.rules.model import Rule
from exporter.rules.rulefile import parse_rules

SUFFIX = ".rules.yaml"

__all__ = [
    "file_problems",
    "load_rules",
    "parse_rules",
    "parse_texts",
    "read_texts",
    "shipped_rule_texts",
    "with_overrides",
]


def shipped_rule_texts() -> dict[str, str]:
    """The shipped rule files by name: the wheel's, or the checkout's `alerts/`."""
    return {
        each.name: each.read_text(encoding="utf-8")
        for each in sorted(_shipped_folder().iterdir(), key=lambda each: each.name)
        if each.name.endswith(SUFFIX)
    }


def _shipped_folder() -> Traversable:
    shipped = files("exporter.rules").joinpath("shipped")
    # A source checkout has no copy: the wheel's is made from this folder when it is built.
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "alerts"


def parse_texts(texts: Mapping[str, str]) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """The rules of several files by origin, and all their problems; names are unique among them."""
    rules: dict[str, tuple[str, Rule]] = {}
    problems: list[str] = []
    for origin, text in texts.items():
        found, wrong = parse_rules(text, origin)
        problems += wrong
        for rule in found:
            if rule.name in rules:
                problems.append(
                    f"{origin}: group {rule.group!r}, rule {rule.name}: there is another rule of"
                    f" this name in {rules[rule.name][0]}; names tell rules apart"
                )
            else:
                rules[rule.name] = origin, rule
    return tuple(rule for _, rule in rules.values()), tuple(problems)


def load_rules(settings: Rules) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """The rules that the configuration asks for, and every problem."""
    texts, unreadable = read_texts(settings)
    rules, problems = parse_texts(texts)
    rules, unknown = with_overrides(rules, settings.overrides)
    return rules, (*unreadable, *problems, *unknown)


def read_texts(settings: Rules) -> tuple[dict[str, str], tuple[str, ...]]:
    """The rule files that the configuration asks for, by origin, and those that cannot be read."""
    own, unreadable = _read(settings.files)
    return (shipped_rule_texts() if settings.shipped else {}) | own, tuple(unreadable)


def file_problems(paths: Iterable[Path]) -> tuple[str, ...]:
    """Why rule files cannot be used beside the shipped pack; empty when they can."""
    _, problems = load_rules(Rules.model_construct(files=tuple(paths)))
    return problems


def _read(paths: Sequence[Path]) -> tuple[dict[str, str], list[str]]:
    texts: dict[str, str] = {}
    problems: list[str] = []
    for path in paths:
        try:
            texts[str(path)] = path.read_text(encoding="utf-8")
        except OSError as error:
            problems.append(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            problems.append(f"{path}: is not UTF-8 text")
    return texts, problems


def with_overrides(
    rules: Sequence[Rule], overrides: Mapping[str, RuleOverride]
) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """`rules` as an operator changed them; an override of no rule is a problem."""
    known = [rule.name for rule in rules]
    problems = [_no_such_rule(name, known) for name in overrides if name not in known]
    changed = (_overridden(rule, overrides.get(rule.name)) for rule in rules)
    return tuple(rule for rule in changed if rule is not None), tuple(problems)


def _no_such_rule(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"
    return f"rules.overrides.{name}: no rule has this name; {hint}"


def _overridden(rule: Rule, override: RuleOverride | None) -> Rule | None:
    if override is None:
        return rule
    if not override.enabled:
        return None
    if override.for_ is not None:
        rule = replace(rule, for_seconds=override.for_)
    if override.keep_firing_for is not None:
        rule = replace(rule, keep_firing_for_seconds=override.keep_firing_for)
    if override.severity is not None:
        rule = replace(rule, labels={**rule.labels, "severity": override.severity})
    return rule
