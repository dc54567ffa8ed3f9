"""What snapshots hold, down to the last field: the states' types, as the actors read them.

`python -m tests.daemon.shapes` writes it to the file beside this one, which a test compares. A type that changes makes
snapshots that were kept unreadable, or read as something else: it is another SCHEMA_VERSION.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from unittest import mock

import msgspec

from adapters.store.snapshots import SCHEMA_VERSION
from daemon import recovery
from daemon.clock import SimulatedClock
from daemon.config import build
from daemon.run import Market, Run
from daemon.wiring import Actors
from risk.limits import Limits

PINNED = Path(__file__).with_suffix(".txt")
RAISE_IT = "raise it in adapters/store/snapshots.py, or a start may take an old snapshot for a new one"
ANY_VERSION = {Limits}  # read by name, from whichever version of the program set them

Kind = Any  # an annotation


def described() -> str:
    """Every actor with the names in its state and the types that it is read as; then every record among these."""
    with TemporaryDirectory() as folder, _actors(Path(folder)) as actors:
        read = {name: _read(actor) for name, actor in recovery.stateful(actors).items()}
    lines = [f"schema {SCHEMA_VERSION}", ""]
    records: dict[str, type] = {}
    for name, (held, kinds) in sorted(read.items()):
        lines += [f"{name}: {', '.join(sorted(held)) or 'by key'}"]
        lines += sorted({f"    {said(kind)}" for kind in kinds})
        for kind in kinds:
            records |= _under(kind)
    for name, record in sorted(records.items()):
        lines += ["", name, *(f"    {line}" for line in _fields(record))]
    return "\n".join(lines) + "\n"


@contextmanager
def _actors(folder: Path) -> Iterator[Actors]:
    """Those of a daemon that has every part."""
    raw = {
        "daemon": {"world": "simulation", "data_dir": str(folder)},
        "instruments": {"AAA": {"adv": 1_000_000, "volatility": 0.02}},
        "risk": {"returns": "returns.csv"},
    }
    run = Run(build(raw, {}, where="shapes"), Market([], {}), SimulatedClock(0), threaded=False)
    try:
        yield run.actors
    finally:
        run.journal.close()
        run._lock.release()
        run.engine.dispose()


def _read(actor: recovery.Stateful) -> tuple[Iterable[str], list[Kind]]:
    """The names in an actor's state, and what it converts them to."""
    kinds: list[Kind] = []

    def convert(value: object, type: Kind, **how: Any) -> object:  # noqa: A002, ANN401 - as msgspec calls them
        kinds.append(type)
        return plain(value, type, **how)

    plain = msgspec.convert
    dumped = actor.dump()
    with mock.patch.object(msgspec, "convert", convert):
        actor.load(msgspec.msgpack.decode(msgspec.msgpack.encode(dumped)))
    assert kinds, f"{actor} reads its state without msgspec.convert: its shape cannot be seen"
    return dumped, [kind for kind in kinds if kind not in ANY_VERSION]


def said(kind: Kind) -> str:
    """An annotation in words."""
    args, origin = get_args(kind), get_origin(kind)
    if kind in {None, NoneType}:
        return "None"
    if kind is Ellipsis:
        return "..."
    if origin in {Union, UnionType}:
        return " | ".join(said(arg) for arg in args)
    if origin is not None:
        return f"{said(origin)}[{', '.join(said(arg) for arg in args)}]"
    if isinstance(kind, type) and (_is_record(kind) or issubclass(kind, Enum)):
        return f"{kind.__module__}.{kind.__qualname__}"
    return getattr(kind, "__name__", None) or str(kind)


def _is_record(kind: Kind) -> bool:
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or hasattr(kind, "_fields"))


def _under(kind: Kind) -> dict[str, type]:
    """The records of an annotation and all that they hold, by name."""
    found: dict[str, type] = {}
    waiting = [kind]
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if _is_record(kind) and said(kind) not in found:
            found[said(kind)] = kind
            waiting += get_type_hints(kind).values()
    return found


def _fields(record: type) -> Iterator[str]:
    if not issubclass(record, msgspec.Struct):
        yield from (f"{name}: {said(kind)}" for name, kind in get_type_hints(record).items())
        return
    tag = record.__struct_config__.tag
    if tag is not None:
        yield f"tag {tag}"
    for field in msgspec.structs.fields(record):
        yield f"{field.encode_name}: {said(field.type)}{'' if field.required else ', may be absent'}"


def main() -> None:
    """Write the file anew."""
    before, now = PINNED.read_text(), described()
    PINNED.write_text(now)
    if now != before and now.partition("\n")[0] == before.partition("\n")[0]:
        sys.stderr.write(f"{PINNED.name} is written; SCHEMA_VERSION is still {SCHEMA_VERSION}: {RAISE_IT}\n")


if __name__ == "__main__":
    main()
