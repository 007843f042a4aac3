import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.rules import formats
from exporter.rules.templates import expand, problem

INF, NAN = float("inf"), float("nan")
LABELS = {"server": "prod", "n": "1500", "bad": "1_0"}


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("plain", 1.0, "plain"),
        ("", 1.0, ""),
        ("a }} b", 1.0, "a }} b"),
        ("{{ $value }}", 0.8557, "0.8557"),
        ("{{$value}}", 1000000.0, "1e+06"),
        ("{{ .Value }}", 123456.0, "123456"),
        ("{{ $value }}", -0.0, "-0"),
        ("{{ $value }}", 1e-05, "1e-05"),
        ("{{ $value }}", NAN, "NaN"),
        ("{{ $value }}", -INF, "-Inf"),
        ("{{ $labels.server }}: {{ .Labels.server }}", 1.0, "prod: prod"),
        ("[{{ $labels.nope }}]", 1.0, "[]"),
        ('{{ "literal }} \\"x\\" \\u00e9\\n" }}', 1.0, 'literal }} "x" é\n'),
        ("{{ `raw \\n` }}", 1.0, "raw \\n"),
        ("{{ 3 }} {{ 1.5 }} {{ -2 }}", 1.0, "3 1.5 -2"),
        ("a  {{- 1 }} b {{ 2 -}}  c {{- /* c */ -}} d", 1.0, "a1 b 2cd"),
        ("{{/* nothing */}}", 1.0, ""),
        ("{{ $value | humanize }}", 1234567.0, "1.235M"),
        ("{{ humanize $value }}", 0.0005, "500u"),
        ("{{ $value | humanize }}", NAN, "NaN"),
        ("{{ $value | humanize }}", 0.0, "0"),
        ("{{ $value | humanize }}", 1e30, "1e+06Y"),
        ("{{ $value | humanize }}", 1e-30, "1e-06y"),
        ("{{ $labels.n | humanize }}", 1.0, "1.5k"),
        ("{{ 1500 | humanize }}", 1.0, "1.5k"),
        ("{{ $value | humanize1024 }}", 1048576.0, "1Mi"),
        ("{{ $value | humanize1024 }}", 0.5, "0.5"),
        ("{{ $value | humanizePercentage }}", 0.8557, "85.57%"),
        ("{{ $value | humanizePercentage }}", INF, "+Inf%"),
        ("{{ $value | humanizeDuration }}", 90.0, "1m 30s"),
        ("{{ $value | humanizeDuration }}", 12.3456, "12.35s"),
        ("{{ $value | humanizeDuration }}", -3725.0, "-1h 2m 5s"),
        ("{{ $value | humanizeDuration }}", 200000.0, "2d 7h 33m 20s"),
        ("{{ $value | humanizeDuration }}", 0.0, "0s"),
        ("{{ $value | humanizeDuration }}", 0.05, "50ms"),
        ("{{ $value | humanizeDuration }}", NAN, "NaN"),
        ('{{ printf "%.0f" $value }}', 2.5, "2"),
        ('{{ $value | printf "%.1f%%" }}', 85.57, "85.6%"),
        ('{{ printf "%06.1f|%+.2f|%-6.1f|% .1f|%e" $value $value $value $value $value }}', 1.5,
         "0001.5|+1.50|1.5   | 1.5|1.500000e+00"),
        ('{{ printf "%06.1f|%+f|% f|%g|%.3g" $value $value $value $value $value }}', INF,
         "  +Inf|+Inf| Inf|+Inf|+Inf"),
        ('{{ printf "% 06.1f|%.3g|%v" $value $value $value }}', 1.5, " 001.5|1.5|1.5"),
        ('{{ printf "%s is %q, %5s %d%v" $labels.server $labels.server "x" 3 4 }}', 1.0,
         'prod is "prod",     x 34'),
        ('{{ printf "%s" (humanize $value) | toUpper }}', 1500.0, "1.5K"),
        ('{{ toLower "ABC" }}', 1.0, "abc"),
        ('{{ printf "%+.1f|% .1f" $value $value }}', -1.5, "-1.5|-1.5"),
        ("{{ ($value) }}", 2.0, "2"),
    ],
)  # fmt: skip
def test_templates_print_what_prometheus_prints(template, value, expected):
    assert problem(template) == ""
    assert expand(template, LABELS, value) == expected


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ $value", "does not end"),
        ("{{", "does not end"),
        ('{{ "a }}', "does not end"),
        ("{{ }}", "lacks a value"),
        ("{{ $value | }}", "lacks a value"),
        ("{{ if $value }}x{{ end }}", "not evaluated here"),
        ('{{ query "up" }}', "not evaluated here"),
        ("{{ $x }}", "variable '$x' is not known"),
        ("{{ $labels }}", "is not known"),
        ("{{ $labels.a.b }}", "is not known"),
        ("{{ $labels.__name__ }}", "write the name"),
        ("{{ humanise $value }}", "function 'humanise' is not known"),
        ("{{ $value := 3 }}", "not understood"),
        ("{{ humanize }}", "takes one value, not 0"),
        ("{{ humanize $value 3 }}", "takes one value, not 2"),
        ("{{ toUpper $value }}", "takes text"),
        ("{{ $value $value }}", "no function"),
        ("{{ $value ) }}", "parenthesis too many"),
        ("{{ ($value }}", "closing parenthesis"),
        ("{{ printf humanize }}", "in ( )"),
        ("{{ printf }}", "begins with its format"),
        ("{{ printf $value }}", "begins with its format"),
        ("{{ printf $labels.x }}", "begins with its format"),
        ("{{ printf (humanize $value) }}", "begins with its format"),
        ('{{ printf "%d" $value }}', "write %.0f"),
        ('{{ printf "%f" $labels.x }}', "write %s"),
        ('{{ printf "%s" 3 }}', "write %d"),
        ('{{ printf "%.2s" "x" }}', "does not print text"),
        ('{{ printf "%s" }}', "takes 1 values, not 0"),
        ('{{ printf "x" 3 }}', "takes 0 values, not 1"),
        ('{{ printf "50%" }}', "write %%"),
        ('{{ "\\x41" }}', "escape"),
        ('{{ "\\uD800" }}', "half a character"),
        ("\ud800", "half a character"),
        ("{{ " + "(" * 5000 + "$value" + ")" * 5000 + " }}", "nested more than 64 deep"),
        ("{{ humanize " + "9" * 400 + " }}", "too large for an integer"),
        ("{{ 9223372036854775808 }}", "too large for an integer"),
        ("{{ " + "9" * 5000 + " }}", "too large for an integer"),
        ("{{ " + "9" * 400 + ".0 }}", "too large for a number"),
    ],
)
def test_what_cannot_be_expanded_is_told_when_it_is_loaded(template, said):
    assert said in problem(template)
    assert expand(template, {}, 1.0).startswith("<error expanding template: ")


def test_groups_side_by_side_are_not_deep():
    many = " ".join(["(printf `%s` (`x`))"] * 100)
    assert expand(f"{{{{ printf `{'%s' * 100}` {many} }}}}", {}, 1.0) == "x" * 100


def test_the_largest_integer_is_one():
    assert expand("{{ -9223372036854775807 }}", {}, 1.0) == "-9223372036854775807"


def test_whatever_fails_is_an_error_in_the_text():
    """A value that no engine gives, and Python cannot convert; a turn must not end with it."""
    assert expand("{{ humanize $value }}", {}, 10**400).startswith("<error expanding template: ")


def test_a_label_that_is_no_number_is_an_error_in_the_text():
    assert expand("{{ $labels.bad | humanize }}", LABELS, 1.0).startswith("<error expanding")


@given(st.text(max_size=30))
def test_label_values_come_through_unchanged(value):
    assert expand("{{ $labels.x }}|{{ $labels.x }}", {"x": value}, 1.0) == f"{value}|{value}"


@given(st.text(max_size=30).filter(lambda text: "{{" not in text))
def test_text_without_actions_is_left_alone(text):
    assert expand(text, {}, 1.0) == text


@given(st.floats())
def test_the_shortest_form_reads_back_as_the_same_number(value):
    text = formats.shortest(value)
    assert repr(float(text)) == repr(value)


@given(st.floats())
def test_every_number_has_every_form(value):
    for function in ("humanize", "humanize1024", "humanizePercentage", "humanizeDuration"):
        assert "error" not in expand(f"{{{{ $value | {function} }}}}", {}, value)
