"""The trial of a frozen Redis runs, finds every signal acted on once, and tells a bound that does not hold."""

from pathlib import Path

import msgspec
import pytest

from tests.trials import frozen
from tests.trials.frozen import Figures, broken, shown, trial

GOOD = Figures(
    freeze_s=30,
    release_s=30,
    pause_ms=400,
    back_s=30.5,
    published=900,
    unanswered=100,
    entries=1_000,
    once=900,
    twice=0,
    never=0,
    unknowing=7,
    paused=0,
    resumed=100,
    parents=frozen.PARENTS,
)


def test_a_short_freeze_costs_no_signal_and_sends_no_order(tmp_path: Path) -> None:
    figures = trial(tmp_path, freeze_s=2, release_s=0.5, around_s=1)
    assert [text for text, holds in frozen._facts(figures).items() if not holds] == []
    assert figures.entries > figures.published + frozen.PARENTS, "nothing was sent into the silence"


@pytest.mark.parametrize(
    "changes,said",
    [
        ({"pause_ms": 501}, "the pause came within 500 ms"),
        ({"back_s": 29.9}, "the pause ended 30.0 to 32.0 s after the server was back"),
        ({"back_s": 32.1}, "the pause ended 30.0 to 32.0 s after the server was back"),
        ({"unanswered": 0}, "the server was frozen while somebody published"),
        ({"never": 1}, "every signal acted"),
        ({"twice": 1}, "no signal acted twice"),
        ({"once": 899}, "what was published acted"),
        ({"paused": 1}, "no order was sent during the pause"),
        ({"resumed": 0}, "trading went on"),
        ({"parents": 5}, "the parents work on"),
    ],
    ids=str,
)
def test_a_bound_that_does_not_hold_is_named(changes: dict[str, float], said: str) -> None:
    assert broken(GOOD) == []
    assert broken(msgspec.structs.replace(GOOD, **changes)) == [said]


@pytest.mark.parametrize("paused,code", [(0, 0), (1, 1)])
def test_the_command_prints_the_figures_and_ends_with_what_they_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], paused: int, code: int
) -> None:
    figures = msgspec.structs.replace(GOOD, paused=paused)
    monkeypatch.setattr(frozen, "trial", lambda folder, **how: figures)
    monkeypatch.setattr("sys.argv", ["frozen"])
    assert frozen.main() == code
    said = capsys.readouterr().out
    assert said.startswith(shown(figures))
    assert ("BROKEN: no order was sent during the pause" in said) == bool(code)
