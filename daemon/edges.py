"""The edges of a live run, made from its configuration: sources of signals, the watch over the halt, words to Redis.

A simulation has signal files and its venue alone: what watches servers, serves sockets or talks to Redis is of the live
world.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from adapters.answers import Answers
from adapters.redis_link import Link, RedisSettings, client, lets_anyone_in
from adapters.signals.file import FileSource
from adapters.signals.http import HttpSource
from adapters.signals.mqtt import MqttSource
from adapters.signals.redis_pubsub import RedisPubSubSource
from adapters.signals.redis_stream import BLOCK_MS, RedisStreamSource
from adapters.signals.source import Source
from adapters.store import queries
from adapters.store.writer import JournalError
from daemon import credentials
from daemon.bus import BusFailed, Sink
from daemon.commands import Commands
from daemon.config import Config
from daemon.control import Control, Role
from daemon.housekeeping import Housekeeper
from daemon.mirror import Mirror
from daemon.notifier import JOURNAL_ALIVE_S, Beat, Notifier
from daemon.pages import Pages
from daemon.risk_view import checked, risk_of
from daemon.status import in_short, live, status, stops
from daemon.supervise import Edge
from daemon.watches import BooksWatch, FeedWatch, JournalWatch, LoopWatch

if TYPE_CHECKING:
    from daemon.run import Run

ENDS_THE_RUN = (BusFailed, JournalError)  # of any edge: trading is over

_redis_password = credentials.credential(credentials.REDIS)


class OpenRedisError(ConnectionError):
    """The server lets anyone in: what it says must not be trusted with money."""


def of_simulation(run: "Run") -> list[Edge]:
    """Signals from files, what the venues say of the account and of its books, and nothing else that waits."""
    settings, accounts = run.config.account, run.accounts
    made = [*(_source(run, source, OSError) for source in _files(run))]
    made.append(Edge(accounts.name, accounts.run, fatal=ENDS_THE_RUN))
    if settings.reconcile_s:
        every_s, away = settings.reconcile_s, accounts.away
        books = BooksWatch(run.gateways, run.compare_lately, clock=run.clock, every_s=every_s, away=away)
        made.append(Edge(books.name, books.run, fatal=ENDS_THE_RUN))
    return made


def of(run: "Run") -> tuple[list[Edge], tuple[Sink, ...]]:
    """All edges of a live run, and the taps of those that want to see every event."""
    halts = run.actors.halts
    notifier = Notifier(run.bus, _beats(run), partial(in_short, run))
    outlets = [outlet for outlet in (_answers(run), _mirror(run)) if outlet is not None]
    made = [
        *of_simulation(run),
        *(_source(run, source) for source in _servers(run)),
        Edge("journal watch", JournalWatch(run.journal, halts).run),
        Edge("feed watch", _feed_watch(run).run),
        Edge("housekeeper", Housekeeper(lambda: not run.actors.slicer.parents).run),
        Edge("loop watch", LoopWatch(run.late).run),
        Edge("reload", partial(_once_ready, run, run.reloader.run), fatal=ENDS_THE_RUN),
        Edge("notifier", partial(_once_ready, run, notifier.run)),
        Edge("control", _control(run).run, early=True),
        *(_outlet(outlet) for outlet in outlets),
    ]
    if run.modeller is not None:
        made.append(Edge(run.modeller.name, run.modeller.run))
    if run.config.http.port:
        made.append(Edge("pages", Pages(run, notifier, run.config.http.port).run, early=True))
    return made, (run.tally.put, *(outlet.put for outlet in outlets))


def halt_link(config: Config) -> Callable[[], Link] | None:
    """How the watch over the halt key connects; None without Redis."""
    return partial(_connect, config.redis, is_live=config.daemon.world == "live") if config.redis.url else None


def _connect(settings: RedisSettings, *, is_live: bool) -> Link:
    if is_live and lets_anyone_in(settings):
        raise OpenRedisError(
            "it lets the default user in without a password: turn that user off, and give us one of our own"
        )
    return Link(settings, _redis_password)


# Sources --------------------------------------------------------------------------------------------------------------


def _source(run: "Run", source: Source, *fatal: type[Exception]) -> Edge:
    return Edge(source.name, partial(source.run, run.intake), fatal=(*ENDS_THE_RUN, *fatal))


def _files(run: "Run") -> list[Source]:
    return [FileSource(path, run.clock) for path in run.config.signals.files]


def _servers(run: "Run") -> list[Source]:
    found: list[Source] = []
    config, clock = run.config, run.clock
    signals, redis = config.signals, config.redis
    if redis.url and signals.stream:
        waiting = client(redis, _redis_password, wait_s=BLOCK_MS / 1_000)
        found.append(RedisStreamSource(waiting, stream=signals.stream, group=signals.group, clock=clock))
    if redis.url and signals.channel:
        found.append(RedisPubSubSource(client(redis, _redis_password), channel=signals.channel, clock=clock))
    if signals.mqtt.host:
        found.append(MqttSource(signals.mqtt, credentials.credential(credentials.MQTT), clock=clock))
    if signals.socket:
        found.append(HttpSource(config.data_dir / signals.socket, group=signals.socket_group, clock=clock))
    return found


# Watches and words ----------------------------------------------------------------------------------------------------


async def _once_ready(run: "Run", work: Callable[[], Awaitable[None]]) -> None:
    await run.ready.wait()  # sources and watches take their first step before the release
    await work()


def _feed_watch(run: "Run") -> FeedWatch:
    return FeedWatch(
        run.instruments,
        run.actors.halts,
        age_s_max=run.config.halt.feed_age_s_max,
        now=run.clock.now,
        played=lambda: run.feed.played,
    )


def _beats(run: "Run") -> dict[str, Beat]:
    beats = {"journal": Beat(lambda: run.journal.beat, JOURNAL_ALIVE_S)}
    watch = run.watch
    return beats if watch is None else beats | {"halt watch": Beat(lambda: watch.beat)}


def _answers(run: "Run") -> Answers | None:
    """What becomes of signals, told over Redis; None where nobody is to be told."""
    config, settings = run.config, run.config.answers
    if not config.redis.url or not (settings.stream or settings.dead):
        return None
    link, journal = client(config.redis, _redis_password), run.journal
    signal_of = partial(queries.signal_of, run.engine)
    return Answers(link, settings, journal=journal, seq=journal.last_seq, signal_of=signal_of)


def _mirror(run: "Run") -> Mirror | None:
    """The live picture in Redis; None where it is not wanted."""
    config = run.config
    if not config.redis.url or not config.answers.mirror:
        return None
    return Mirror(client(config.redis, _redis_password), config.answers.mirror, run.rows)


def _outlet(outlet: Answers | Mirror) -> Edge:
    return Edge(outlet.name, outlet.run, depth=lambda: outlet.depth, handled=lambda: outlet.handled)


def _control(run: "Run") -> Control:
    commands = Commands(run)
    return Control(
        run.config.control_socket,
        run.config.control,
        views={
            "status": lambda _: status(run),
            "live": lambda _: live(run),
            "stops": lambda _: stops(run),
            "risk": lambda _: risk_of(run),
            "check": partial(checked, run),
        },
        commands={
            "halt": (Role.OPERATOR, commands.halt),
            "resume": (Role.OPERATOR, commands.resume),
            "parent": (Role.OPERATOR, commands.parent),
            "record": (Role.OPERATOR, commands.record),
            "flatten": (Role.SUPERVISOR, commands.flatten),
            "deposit": (Role.SUPERVISOR, commands.deposit),
            "withdraw": (Role.SUPERVISOR, commands.withdraw),
            "split": (Role.SUPERVISOR, commands.split),
            "reset-mark": (Role.SUPERVISOR, commands.reset_mark),
            "regime": (Role.SUPERVISOR, commands.regime),
            "reload": (Role.SUPERVISOR, commands.reload),
            "override": (Role.SUPERVISOR, commands.override),
            "confirm": (Role.SUPERVISOR, commands.confirm),
        },
        publish=run.bus.publish,
        now=run.clock.now,
    )
