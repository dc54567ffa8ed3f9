"""Who shares a symbol's volume, in turns; that all together keep to their part of it is a law of whole runs."""

from decimal import Decimal

from algos.participation import POLL_NS, Pace
from algos.sharing import TURN_NS, Together
from core.units import ZERO
from tests.builders import NOW


def test_the_first_in_line_takes_what_there_is_and_whoever_else_what_the_line_leaves() -> None:
    lot, polled = Decimal(10), NOW + POLL_NS
    together = Together(Pace(rate=0.3, begun=1.0, seen=1.0))
    together.join(ZERO, 0.0)

    def rooms() -> list[Decimal | None]:
        return [together.room(name, lot) for name in "ABC"]

    def ask(name: str, wanted: int, now: int = NOW) -> None:
        together.ask(name, Decimal(wanted), Decimal(wanted), now, lot)

    together.pace.move(float(141))  # of 140 of others, 60
    assert rooms() == [60, 60, 60]
    ask("A", 60)  # there is as much
    ask("B", 100)
    ask("C", 50)  # which B waits for
    assert rooms() == [60 - 150, 60, 60 - 100]
    together.serve("B")
    together.used += 60
    assert rooms() == [0 - 50, 0 - 50, 0]
    ask("B", 40, polled)
    together.pace.move(float(281))
    assert rooms() == [60 - 90, 60 - 50, 60]
    ask("C", 70, polled)  # keeps its place
    assert rooms() == [60 - 110, 60 - 70, 60]
    later = polled + POLL_NS
    ask("C", 60, later)  # there is as much: it is its turn
    assert rooms() == [60 - 100, 60 - 60, 60]
    ask("B", 40, later)
    assert rooms() == [60 - 100, 60 - 60, 60]
    ask("B", 40, polled + TURN_NS)  # C has sent nothing
    assert rooms() == [60 - 40, 60, 60 - 40]
    ask("A", 10, polled + 2 * TURN_NS)  # nor has B
    assert rooms() == [60, 60, 60]
    together.used += 100
    ask("A", 0, polled + TURN_NS)
    assert not together.line
    assert together.asked == 0


def test_whose_turn_it_is_with_a_part_of_what_it_wants_has_it_no_longer_either() -> None:
    lot, wanted = Decimal(10), Decimal(100)
    together = Together(Pace(rate=0.3, begun=1.0, seen=1.0))
    for name in "AB":
        together.ask(name, wanted, Decimal(50), NOW, lot)
    assert together.turn(lot) is None
    together.pace.move(float(141))  # 60 of ours
    assert together.turn(lot) == "A"
    for moment in (NOW + POLL_NS, NOW + TURN_NS):  # it can send 50 and does not
        for name in "AB":
            together.ask(name, wanted, Decimal(50), moment, lot)
    assert together.turn(lot) == "B"
    together.serve("B")
    together.used += 60
    assert together.turn(lot) is None


def test_who_finds_no_volume_ever_told_stands_in_no_line() -> None:
    together = Together(Pace(rate=0.3, begun=0.0, seen=0.0))
    together.ask("A", Decimal(10), Decimal(1), NOW, Decimal(1))
    assert together.room("A", Decimal(1)) is None
    assert not together.line
