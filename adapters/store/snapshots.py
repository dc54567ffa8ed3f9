"""Snapshots: the actors' applied state at one point of the journal, so that recovery folds only what came after it.

A snapshot is a short cut, never a source: one that is damaged, of another version, or not of this journal is passed
over with a note, and without any the whole journal is folded.
"""

from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Engine, Row, delete, insert, select

from adapters.store.journal import tail
from adapters.store.tables import snapshots

SCHEMA_VERSION = 6  # of the actors' states; raise it whenever one of them changes its shape
KEPT = 2  # the newest, and one to fall back to

State = dict[str, Any]
"""An actor's name to its state in builtin types; a Decimal comes back as text (`msgspec.convert` takes it)."""


class Snapshot(msgspec.Struct, frozen=True):
    """State after the event `seq`, where the journal's hash was `chain_hash`."""

    seq: int
    ts: int
    chain_hash: bytes
    state: State


def save(engine: Engine, snapshot: Snapshot) -> None:
    """Keep a snapshot, and forget those older than the one before it. Save only what is durable in the journal."""
    payload = msgspec.msgpack.encode(snapshot.state)
    row = {
        "seq": snapshot.seq,
        "ts": snapshot.ts,
        "chain_hash": snapshot.chain_hash,
        "schema_version": SCHEMA_VERSION,
        "sha256": sha256(payload).digest(),
        "payload": payload,
    }
    kept = select(snapshots.c.seq).order_by(snapshots.c.seq.desc()).limit(KEPT)
    with engine.begin() as connection:
        connection.execute(delete(snapshots).where(snapshots.c.seq == snapshot.seq))
        connection.execute(insert(snapshots), row)
        connection.execute(delete(snapshots).where(snapshots.c.seq.not_in(kept)))


def load_latest(engine: Engine) -> tuple[Snapshot | None, list[str]]:
    """The newest snapshot that can be trusted, None without one; and a note for each that could not."""
    notes: list[str] = []
    with engine.connect() as connection:
        rows = connection.execute(select(snapshots).order_by(snapshots.c.seq.desc())).all()
    for row in rows:
        fault = _fault(engine, row)
        if fault is None:
            return Snapshot(row.seq, row.ts, row.chain_hash, msgspec.msgpack.decode(row.payload)), notes
        notes.append(f"snapshot at seq {row.seq} is passed over: {fault}")
    return None, notes


def _fault(engine: Engine, row: Row[Any]) -> str | None:
    if row.schema_version != SCHEMA_VERSION:
        return f"it has schema {row.schema_version}, this version reads {SCHEMA_VERSION}"
    if sha256(row.payload).digest() != row.sha256:
        return "it is damaged"
    if tail(engine, before=row.seq + 1)[1] != row.chain_hash:
        return "the journal has another hash there"
    return None
