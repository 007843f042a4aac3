import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.rules.regex import PatternError, compile_pattern


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
    ],
)
def test_patterns_mean_what_they_mean_in_re2(pattern, matching, other):
    compiled = compile_pattern(pattern)
    assert [text for text in matching if not compiled.fullmatch(text)] == []
    assert [text for text in other if compiled.fullmatch(text)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "a)", "[a", "[", "*a", "a**", "a++", "a{2}{3}", "a{1001}", "a{1,1001}", "(?=a)",
        "(?P<n>a)", "(?<n>a)", "a(?i)b", "(?s)a", r"\b", r"\pL", r"\1", r"\Qa\E", "\\", r"[\W]",
        "[[:alpha:]]", "[a&&b]", "[a--b]", "[z-a]", r"\x{110000}", r"\é", "a{3,2}",
    ],
)  # fmt: skip
def test_what_may_mean_something_else_is_refused(pattern):
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@given(st.text(max_size=30))
def test_an_escaped_text_matches_itself_alone(text):
    pattern = re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
    compiled = compile_pattern(pattern)
    assert compiled.fullmatch(text)
    assert not compiled.fullmatch(text + "x")
