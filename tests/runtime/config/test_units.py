from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.runtime.config.units import UnitError, parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250μs", 0.00025),
        ("10ns", 1e-8),
        ("1h2m3s4ms", 3723.004),
        (" 5s ", 5.0),
    ],
)
def test_durations_in_seconds_and_in_the_form_of_go_are_read(text: str, seconds: float) -> None:
    """A duration is a number of seconds, or Go's sequence of numbers with units."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("-5s", "a duration is not negative"),
        ("5 parsecs", "its units are h, m, s, ms, us and ns"),
        ("1d", "its units are h, m, s, ms, us and ns"),
        ("5S", "its units are h, m, s, ms, us and ns"),
        ("5s-3s", "its units are h, m, s, ms, us and ns"),
        ("inf", "its units are h, m, s, ms, us and ns"),
        ("nan", "its units are h, m, s, ms, us and ns"),
        ("1e3", "its units are h, m, s, ms, us and ns"),
        ("٣s", "its units are h, m, s, ms, us and ns"),
        (".", "its units are h, m, s, ms, us and ns"),
        ("3000000h", "a duration is at most 292 years"),
        ("9" * 5000, "a duration is at most 292 years"),
    ],
)
def test_what_is_no_duration_is_refused_with_a_hint(text: str, hint: str) -> None:
    """Whatever is no finite, positive duration is refused, and the hint says why."""
    with pytest.raises(UnitError) as caught:
        parse_duration(text)
    assert str(caught.value) == hint


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("0", 0),
        ("10B", 10),
        ("16MiB", 16 * 1024**2),
        ("16Mi", 16 * 1024**2),
        ("16mib", 16 * 1024**2),
        ("16 MiB", 16 * 1024**2),
        ("16MB", 16_000_000),
        ("1kB", 1000),
        ("1.5KiB", 1536),
        ("0.3kB", 300),
        ("2TiB", 2 * 1024**4),
    ],
)
def test_sizes_in_bytes_and_with_units_are_read(text: str, size: int) -> None:
    """A size is a number of bytes, or a number with an IEC or SI unit."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("-1", "a size is not negative"),
        ("16M", "M is ambiguous: write MiB for 1024s or MB for 1000s"),
        ("1k", "K is ambiguous: write KiB for 1024s or kB for 1000s"),
        ("16 stones", "its units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB"),
        ("MiB", "its units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB"),
        ("9" * 5000, "its units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB"),
        ("0.3B", "it is no whole number of bytes"),
        ("9" * 30, "a size is less than 8 EiB"),
    ],
)
def test_what_is_no_size_is_refused_with_a_hint(text: str, hint: str) -> None:
    """Whatever is no whole number of bytes is refused, and the hint says why."""
    with pytest.raises(UnitError) as caught:
        parse_size(text)
    assert str(caught.value) == hint


@given(st.integers(min_value=0, max_value=10**14))
def test_a_shown_duration_is_read_as_itself(microseconds: int) -> None:
    """What `show_duration` writes, `parse_duration` reads as the same number to the nanosecond."""
    seconds = microseconds / 1e6
    assert round(parse_duration(show_duration(seconds)) * 1e9) == round(seconds * 1e9)


@given(st.integers(min_value=0, max_value=2**62))
def test_a_shown_size_is_read_as_itself(size: int) -> None:
    """What `show_size` writes, `parse_size` reads as the same number."""
    assert parse_size(show_size(size)) == size


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (28.0, "28s"),
        (90, "1m30s"),
        (0.5, "500ms"),
        (3600, "1h"),
        (0.00025, "250us"),
        (1e-9, "1ns"),
        (1.5, "1.5s"),
        (60.25, "1m0.25s"),
        (0.0015, "1.5ms"),
        (3601, "1h1s"),
    ],
)
def test_durations_are_shown_in_their_shortest_form(seconds: float, shown: str) -> None:
    """A duration is shown as a person would write it."""
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0"), (1000, "1000"), (1024, "1KiB"), (16 * 1024**2, "16MiB"), (1025, "1025")]
)
def test_sizes_are_shown_in_the_largest_unit_that_divides_them(size: int, shown: str) -> None:
    """A size is shown as a person would write it."""
    assert show_size(size) == shown
