import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.pattern import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("", [""], ["a"]),
        ("a|bc", ["a", "bc"], ["b", "abc", "ac"]),
        ("(?:a|b)+c?", ["ab", "bac"], ["c"]),
        ("(a|b){2}", ["ab"], ["a", "aba"]),
        ("a{2,}b{0,1}", ["aa", "aaab"], ["ab"]),
        ("a.c", ["abc", "a\nc"], ["ac"]),
        (".*", ["", "a\nb"], []),
        ("a.*?b", ["ab", "axb"], ["a"]),
        (r"\d+", ["12"], ["", "\u0663"]),
        (r"\D", ["a", "\u0663"], ["1"]),
        (r"\w+", ["a_1"], ["\u00e9"]),
        (r"\W", ["\u00e9", "-"], ["a"]),
        (r"\s", [" ", "\t"], ["\v", "\u00a0"]),
        (r"\S", ["\v"], [" "]),
        ("[a-c]+", ["abc"], ["d", "-"]),
        ("[^a-c]", ["d", "\n"], ["a"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[^]a]", ["b"], ["]"]),
        (r"[\d_-]+", ["1_-"], ["a"]),
        (r"[\]\[]", ["[", "]"], ["a"]),
        ("[.+*]", [".", "+"], ["a"]),
        (r"\.\*\-\\", [".*-\\"], ["a"]),
        (r"\x41\x{1F600}", ["A\U0001f600"], ["a"]),
        (r"\t\n", ["\t\n"], ["tn"]),
        ("^a$", ["a"], ["a\n", "^a$"]),
        ("a$|b", ["a", "b"], ["a\n"]),
        (r"a$\n", [], ["a\n"]),
        ("a{x}", ["a{x}"], ["ax"]),
        ("a{,2}", ["a{,2}"], ["aa", ""]),
        ("#a b", ["#a b"], ["a"]),
        ("(?i)Prod.*", ["PROD-1", "prod"], ["dev"]),
        ("a(?i)b", ["ab", "aB"], ["AB"]),
        ("(?i)\u00c4", ["\u00e4"], ["a"]),
        ("(?P<n>a)b", ["ab"], ["b"]),
        ("(?-s).", ["a"], ["\n"]),
        (r"\ba\b", ["a"], ["ab"]),
        (r"\pL+", ["a\u00e9"], ["1"]),
        (r"\Qa.b\E", ["a.b"], ["axb"]),
        (r"[\W]", ["-"], ["a"]),
        ("[[:alpha:]]", ["a"], ["1", ":"]),
        ("[a&&b]", ["a", "&"], ["c"]),
        (r"a\\C", ["a\\C"], ["ab"]),
        (".", ["\u00e9", "\U0001f600"], [""]),
    ],
)
def test_patterns_mean_what_they_mean_in_re2(pattern, matching, other):
    matches = compile_pattern(pattern)
    assert [text for text in matching if not matches(text)] == []
    assert [text for text in other if matches(text)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "a)", "[a", "[", "*a", "a**", "a++", "a{2}{3}", "a{1001}", "a{1,1001}", "(?=a)",
        r"\1", "\\", "[a--b]", "[z-a]", r"\x{110000}", r"\é", "a{3,2}", r"\C", r"a\\\C",
    ],
)  # fmt: skip
def test_what_prometheus_refuses_is_refused(pattern):
    with pytest.raises(PatternError, match="is not a regular expression: "):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["\ud800", r"\p{L}{1000}"])
def test_what_cannot_be_had_is_refused(pattern):
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@given(st.text(max_size=30))
def test_an_escaped_text_matches_itself_alone(text):
    pattern = re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
    matches = compile_pattern(pattern)
    assert matches(text)
    assert not matches(text + "x")


def test_a_pattern_takes_time_in_proportion_to_the_text():
    """Python's own would be at it for longer than this machine will last."""
    matches = compile_pattern("([a-z0-9]+-?)+[.]example[.]com")
    assert not matches("checkoutservice-production-replica01" * 20)


def test_half_a_character_in_a_label_is_a_character():
    assert compile_pattern(".")("\ud800")
