"""Client ids: short, plain, stable over releases, and never shared by two intents."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.ids import MAX_LENGTH, check_tag, cl_ord_id, parent_id

PARTS = st.tuples(*[st.text(st.sampled_from("ab:1\x1f\x00é"), max_size=4)] * 4)


def parent(parts: tuple[str, str, str, str], tag: str = "EX") -> str:
    account, strategy, signal_id, leg = parts
    return parent_id(tag=tag, account=account, strategy=strategy, signal_id=signal_id, leg=leg)


@given(PARTS, st.integers(1, 99_999), st.integers(1, 999))
def test_an_id_is_short_and_plain_with_a_letter_first(
    parts: tuple[str, str, str, str], child: int, attempt: int
) -> None:
    value = cl_ord_id(parent(parts, tag="Ex12"), child=child, attempt=attempt)
    assert len(value) <= MAX_LENGTH
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", value)


@given(PARTS, PARTS)
@example(("a", "b", "c", "d"), ("a\x1fb", "c", "d", ""))
@example(("a\x1f", "b", "", ""), ("a", "\x1fb", "", ""))
@example(("1:a", "", "", ""), ("", "1:a", "", ""))
@example(("a", "1:b", "", ""), ("a1:b", "", "", ""))
def test_other_parts_give_another_parent_whatever_they_contain(
    one: tuple[str, str, str, str], two: tuple[str, str, str, str]
) -> None:
    assert (parent(one) == parent(two)) == (one == two)


def test_each_part_matters() -> None:
    ids = {parent(parts) for parts in [("a", "b", "c", "d"), ("b", "a", "c", "d"), ("a", "b", "d", "c")]}
    ids.add(parent(("a", "b", "c", "d"), tag="EY"))
    assert len(ids) == 4


COUNTS = st.tuples(st.integers(0, 9_999), st.integers(1, 999))


@given(COUNTS, COUNTS)
def test_children_and_attempts_never_share_an_id(one: tuple[int, int], two: tuple[int, int]) -> None:
    first, second = (cl_ord_id("EXC1A2", child=child, attempt=attempt) for child, attempt in (one, two))
    assert (first == second) == (one == two)


def test_ids_stay_what_they_are_over_releases() -> None:
    value = parent(("main", "momentum", "2026-01-05/AAPL", "AAPL"))
    assert value == "EXSZYZUH7TFVOKB3V2"
    assert cl_ord_id(value, child=7) == f"{value}C7A1"
    assert cl_ord_id(value, child=7, attempt=2) == f"{value}C7A2"


def test_an_id_that_no_venue_would_take_is_our_own_bug() -> None:
    with pytest.raises(AssertionError, match="longer than 32 characters"):
        cl_ord_id("E" * 20, child=10**8, attempt=10**3)


@pytest.mark.parametrize("tag", ["E", "ex1", "Ab9Z"])
def test_a_tag_is_one_to_four_letters_and_digits(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", "EXECD", "1EX", "E-X", "É", "E X", "²E", "E²"])
def test_another_tag_is_refused_with_what_to_use(tag: str) -> None:
    with pytest.raises(ValueError, match="use 1 to 4 letters and digits, a letter first"):
        check_tag(tag)
