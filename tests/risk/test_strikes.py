"""What is too many within a window, against somebody who keeps the whole list; and what is kept of it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from risk.strikes import Key, Often, Strike, Strikes

STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, 4, 5, 9, 10, 30]), st.integers(0, 5)), max_size=60
)
OFTEN = st.builds(Often, st.integers(1, 4), st.integers(1, 20))


Steps = list[tuple[str, int, int]]


def struck(steps: Steps) -> list[tuple[Key, Strike]]:
    now, found = 0, list[tuple[Key, Strike]]()
    for key, after, number in steps:
        now += after
        found.append(((key,), Strike(now, f"O{number}")))
    return found


@given(STEPS, OFTEN)
def test_too_many_are_as_many_orders_as_trip_of_one_key_within_the_window_before_the_newest(
    steps: Steps, often: Often
) -> None:
    strikes, everything = Strikes(), list[tuple[Key, Strike]]()
    for key, strike in struck(steps):
        strikes.add(key, strike, often)
        everything.append((key, strike))
        own = [each for of, each in everything if of == key]
        ids = [each.order_id for each in own]
        last = [each for at, each in enumerate(own) if each.order_id not in ids[at + 1 :]]  # of each order
        within = [each for each in last if strike.ts - each.ts < often.window_ns]
        expected = within[-often.most :] if len(within) >= often.most else []
        assert strikes.too_many(key, strike, often) == expected


@given(STEPS, OFTEN)
def test_what_is_kept_is_bounded_by_what_trips_and_by_the_window(steps: Steps, often: Often) -> None:
    strikes = Strikes()
    for number, (_, strike) in enumerate(struck(steps)):
        strikes.add((f"K{number}",), strike, often)  # each time somebody else
        strikes.add(("all",), strike, often)
        for key, newest in strikes.dump():
            assert len(newest) <= often.most
            assert strike.ts - newest[-1].ts < often.window_ns, key


@given(STEPS, OFTEN, st.integers(0, 60))
def test_a_snapshot_goes_on_where_it_was(steps: Steps, often: Often, cut: int) -> None:
    straight, broken = Strikes(), Strikes()
    for number, (key, strike) in enumerate(struck(steps)):
        if number == cut:
            dumped, broken = msgspec.json.decode(msgspec.json.encode(broken.dump())), Strikes()
            broken.load(dumped)
        straight.add(key, strike, often)
        broken.add(key, strike, often)
        assert broken.too_many(key, strike, often) == straight.too_many(key, strike, often)
    assert broken.dump() == straight.dump()


def test_what_was_not_counted_is_never_too_many() -> None:
    strikes, often = Strikes(), Often(1, 10)
    strikes.add(("a",), Strike(1, "O1"), often)
    assert strikes.too_many(("a",), Strike(1, "O2"), often) == []
    assert strikes.too_many(("b",), Strike(1, "O1"), often) == []
    assert strikes.too_many(("a",), Strike(1, "O1"), often) == [Strike(1, "O1")]


def test_all_is_forgotten_or_what_begins_so() -> None:
    strikes, often = Strikes(), Often(1, 10)
    for key in (("a", "x"), ("a", "y"), ("ab", "x")):
        strikes.add(key, Strike(1, "O1"), often)
    strikes.clear(("a",))
    assert [key for key, _ in strikes.dump()] == [("ab", "x")]
    strikes.clear()
    assert strikes.dump() == []
