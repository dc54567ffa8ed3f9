"""The limits are read again while the daemon runs: all of them or none, and nothing else of the configuration.

The file is read once, whole and checked, with the environment over it, as at a start. What is not sound changes
nothing. What is becomes an event, and so has its place among the orders: what was decided before it was decided by the
limits before it. Other sections are compared, not taken: who changed one hears that it waits for the next start.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from adapters.aside import aside
from core.events import LimitsSet, ShadowSet
from daemon.config import Config, ConfigError, read
from daemon.halts import Refused
from risk.limits import Limits, LimitsInForce, plain

if TYPE_CHECKING:
    from daemon.run import Run

UNSET = "unset"
BYTES_MAX = 4_000_000  # of a file; some 40,000 instruments
READ_S = 5.0  # the longest that a reading may take; whoever asks waits twice as long

_log = structlog.get_logger()


class Reloaded(msgspec.Struct, frozen=True):
    """What came of it. Values are as JSON has them."""

    version: str  # in force from now on
    shadow: str  # the version of the shadow limits from now on; empty: none
    changed: dict[str, tuple[Any, Any]]  # by dotted name, before and after; None: there was no such entry, or is none
    waits: tuple[str, ...]  # other sections in which the file is not what the process runs with


class Source:
    """The configuration file of a run."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path = path
        self._environment = environment
        self._named = frozenset[str]()  # limits that the newest sound reading named

    def read(self) -> Config:
        """What it says now, checked; raises ConfigError.

        A file that no longer names a limit is refused: it may have been cut short, by an editor that is still writing
        or a full disk, and what is not in it would fall back to its default, which may be the wider one.
        """
        self._check()
        reading = read(self._path, self._environment)
        missing = sorted(self._named - reading.limits)
        if missing:
            gone = f"limits.{missing[0]} is no longer set" + (f", nor {len(missing) - 1} more" if missing[1:] else "")
            raise ConfigError(f"{self._path}: {gone}: is the file whole? To go back to a default write it, or restart")
        self._named = reading.limits
        return reading.config

    def _check(self) -> None:
        """What is read while others trade must have an end, and soon."""
        try:
            stat = self._path.stat()
        except OSError:
            return  # whoever reads it says why
        if not S_ISREG(stat.st_mode):
            raise ConfigError(f"{self._path}: no regular file: write the configuration to one")
        if stat.st_size > BYTES_MAX:
            raise ConfigError(f"{self._path}: {stat.st_size:,} bytes are no configuration: {BYTES_MAX:,} are the most")


class Reloader:
    """Reads the limits of one run again, for a person who asks over the control socket and for SIGHUP."""

    name = "reload"

    def __init__(self, run: "Run", source: Source | None) -> None:
        self._run = run
        self._source = source
        self._asked = asyncio.Event()
        self._one = asyncio.Lock()  # at a time: who read an older file must not speak last

    def ask(self) -> None:
        """Do it soon: for a process signal, which waits for no answer. Several of them in a row are one."""
        self._asked.set()

    async def run(self) -> None:
        """Do what signals ask for."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.reload("SIGHUP")
            except Refused as refused:
                _log.error("not reloaded", by="SIGHUP", error=str(refused))

    async def reload(self, by: str) -> Reloaded:
        """Put the limits of the file in force; raises Refused, and then they are as they were."""
        async with self._one:
            fresh = await self._read()
            run, limits = self._run, self._run.actors.limits
            reloaded = compared(run.config, limits, fresh)
            if reloaded.version != limits.version:
                run.bus.publish(limits_set(fresh, run.clock.now(), by))
            if reloaded.shadow != limits.shadow_version:
                run.bus.publish(shadow_set(fresh, run.clock.now(), by))
            await run.bus.settled()
        facts = {"limits": reloaded.version, "shadow": reloaded.shadow, "changed": reloaded.changed}
        _log.warning("reloaded", by=by, **facts, waits=reloaded.waits)
        return reloaded

    async def _read(self) -> Config:
        if self._source is None:
            raise Refused("this run was not started with a configuration file")
        try:
            return await asyncio.wait_for(aside(self._source.read, self.name), READ_S)
        except TimeoutError as error:  # the disk, or whoever serves it, hangs; what it says later comes too late
            raise Refused(f"the limits are as they were: the file was not read within {READ_S:g} s") from error
        except Exception as error:  # whatever is wrong with a file, trading goes on under the limits that are there
            raise Refused(f"the limits are as they were: {error}") from error


def limits_set(config: Config, now: int, by: str) -> LimitsSet:
    """The event that puts a configuration's limits in force."""
    return LimitsSet(ts=now, version=config.limits_version, limits=plain(config.limits), by=by)


def shadow_set(config: Config, now: int, by: str) -> ShadowSet:
    """The event that has a configuration's shadow limits judge beside them, or none where it has none."""
    limits = {} if config.shadow is None else plain(config.shadow)
    return ShadowSet(ts=now, version=config.shadow_version, limits=limits, by=by)


def compared(running: Config, limits: LimitsInForce, fresh: Config) -> Reloaded:
    """What a fresh configuration would change at once, and what only at the next start."""
    before, after = _named(limits.current, limits.shadow), _named(fresh.limits, fresh.shadow)
    names = [*before, *(name for name in after if name not in before)]
    sections = [name for name in Config.__struct_fields__ if name not in {"limits", "shadow"}]
    return Reloaded(
        version=fresh.limits_version,
        shadow=fresh.shadow_version,
        changed={name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)},
        waits=tuple(name for name in sections if getattr(running, name) != getattr(fresh, name)),
    )


def _named(limits: Limits, shadow: Limits | None) -> dict[str, Any]:
    """Every limit by its dotted name, and of the shadow limits those that differ."""
    found = dict(_leaves(plain(limits)))
    if shadow is None:
        return found
    beside = _leaves(plain(shadow))
    return found | {f"shadow.{name}": value for name, value in beside if name not in found or found[name] != value}


def _leaves(table: dict[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested tables by its dotted name."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{within}{key}.")
        else:
            yield f"{within}{key}", UNSET if value is None else value
