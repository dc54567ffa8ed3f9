"""What is kept of every event: the market on the tape, everything else in the journal, one sequence for both."""

from adapters.store.journal import Journal
from adapters.store.tape import TapeWriter
from core.events import Event, MarketData


class Recorder:
    """The bus's tap."""

    __slots__ = ("_journal", "_tape")

    def __init__(self, journal: Journal, tape: TapeWriter) -> None:
        self._journal = journal
        self._tape = tape

    def record(self, seq: int, event: Event) -> None:
        """Write one event where it belongs."""
        if type(event) is MarketData:
            self._tape.put(seq, event)
        else:
            self._journal.put(seq, event)
