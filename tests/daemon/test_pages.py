"""Pages for machines as machines meet them: over real sockets, slow, many, and where they have no business."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from adapters.valkey import PrivateValkey
from daemon import pages
from daemon.bus import Bus
from daemon.clock import SimulatedClock
from daemon.markets import open_market
from daemon.notifier import Beat, Notifier
from daemon.pages import CONNECTIONS_MAX, Pages
from daemon.run import Run
from tests.daemon.crashing import config, write_signals
from tests.daemon.service import WAIT_S, Make, Service, acknowledged, order, publish
from tests.servers.ports import free_port

PATHS = ("/metrics", "/healthz", "/readyz", "/status")


class Site:
    """Pages at a port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Status, type and body of an answer."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as link:
            link.request(method, path, body=body)
            answer = link.getresponse()
            return answer.status, answer.headers.get_content_type(), answer.read()

    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Name and labels of every sample of /metrics."""
        text = self.ask("GET", "/metrics")[2].decode()
        return {
            (sample.name, frozenset(sample.labels.items()))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def connect(self) -> socket.socket:
        """A connection over which nothing was said."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)


def is_cut_off(connection: socket.socket) -> bool:
    """Whether the other end hangs up, after whatever it had to say; raises TimeoutError where it does not."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


# A service ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Site:
    return Site(free_port())


@pytest.fixture
def service(make: Make, valkey: PrivateValkey, site: Site) -> Service:
    return make("service", valkey.settings, http={"port": site.port}).start()


def test_every_page_says_what_it_is_for_and_nobody_changes_anything_by_them(service: Service, site: Site) -> None:
    status, kind, body = site.ask("GET", "/healthz")
    assert (status, kind, json.loads(body)) == (200, "application/json", {"healthy": True, "hanging": []})
    status, kind, body = site.ask("GET", "/readyz")
    assert (status, kind, json.loads(body)) == (200, "application/json", {"ready": True})
    status, kind, body = site.ask("GET", "/status")
    assert (status, kind, json.loads(body)["account"]) == (200, "application/json", "service")
    assert site.ask("GET", "/metrics")[:2] == (200, "text/plain")
    assert ("execd_ready", frozenset()) in site.series()
    for path in PATHS:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert site.ask(method, path, b'{"text": "enough"}')[0] == 405, (method, path)
    for path in ("/", "/halt", "/resume", "/flatten", "/live", "/metrics/", "/static/../status", "/favicon.ico"):
        assert {site.ask(method, path)[0] for method in ("GET", "POST")} == {404}, path
    assert service.status()["state"] == "ACTIVE"
    assert service.events("CommandGiven") == []


def test_a_halted_daemon_is_well_and_ready(service: Service, site: Site) -> None:
    service.ask("POST", "halt", {})
    assert [site.ask("GET", path)[0] for path in PATHS] == [200] * 4
    assert json.loads(site.ask("GET", "/status")[2])["state"] == "HALTED"


def test_nobody_listens_but_on_the_loopback_interface(service: Service, site: Site) -> None:
    open_ = psutil.Process(service.pid).net_connections("inet")
    listening = [tuple(each.laddr) for each in open_ if each.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", site.port)]


def test_signals_of_many_names_make_no_new_series(service: Service, site: Site, hand: redis.Redis) -> None:
    def send(name: str) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """The series after bad and good signals, all of whose words are new."""
        junk = [order(f"{name}{i}", symbol=f"{name.upper()}{i}", qty=1) for i in range(20)]
        junk += [f"{name}{i}".encode() for i in range(20)]
        own = [json.dumps(json.loads(order(f"{name}-{i}", qty=1)) | {"strategy": f"{name}{i}"}) for i in range(20)]
        publish(hand, *junk, *map(str.encode, own), *map(str.encode, own))
        service.until(lambda: acknowledged(hand), "the acknowledgements")
        service.until(lambda: service.status()["parents"] == 0, "every end")
        return site.series()

    assert send("a") == send("b")
    assert len(service.events("SignalAccepted")) == len(service.events("ParentEnded")) == 40


def slow(site: Site, stack: ExitStack, number: int) -> list[socket.socket]:
    """Scrapers who say nothing, half of a request, or ask and do not read."""
    words = (
        b"",
        b"GET /metr",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 9,
    )
    found = [stack.enter_context(site.connect()) for _ in range(number)]
    for i, connection in enumerate(found):
        connection.sendall(words[i % len(words)])
    return found


def test_slow_scrapers_hold_up_neither_trading_nor_others_and_are_cut_off(
    service: Service, site: Site, hand: redis.Redis
) -> None:
    with ExitStack() as stack:
        scrapers = slow(site, stack, CONNECTIONS_MAX // 2)
        publish(hand, *(order(f"s{i}", qty=1) for i in range(20)))
        service.until(lambda: len(service.events("ParentEnded")) == 20, "every end")
        assert ("execd_ready", frozenset()) in site.series()
        assert all(is_cut_off(connection) for connection in scrapers)
    service.until_state("ACTIVE")


def test_more_connections_than_there_may_be_are_hung_up_on_and_hold_no_files(service: Service, site: Site) -> None:
    with ExitStack() as stack:
        scrapers = [stack.enter_context(site.connect()) for _ in range(CONNECTIONS_MAX * 4)]
        assert all(is_cut_off(connection) for connection in scrapers[CONNECTIONS_MAX:])
        held = [each for each in psutil.Process(service.pid).net_connections("inet") if each.raddr]
        assert len(held) <= CONNECTIONS_MAX
        for connection in scrapers:
            connection.close()
    service.until(lambda: _answers(site), "room for others")


def _answers(site: Site) -> bool:
    try:
        return site.ask("GET", "/healthz")[0] == 200
    except (OSError, HTTPException):
        return False


def test_a_port_that_another_one_has_keeps_nothing_but_the_pages(
    make: Make, valkey: PrivateValkey, hand: redis.Redis, site: Site
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.port))
        other.listen()
        service = make("service", valkey.settings, http={"port": site.port}).start()
        publish(hand, order("one", qty=1))
        service.until(lambda: service.events("ParentEnded"), "the end")
        errors = {actor["name"]: actor["error"] for actor in service.status()["actors"] if actor["error"]}
        assert list(errors) == ["pages"]
        assert "in use" in errors["pages"]
    service.until(lambda: _answers(site), "the pages")


# In this process ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """One that has not begun."""
    write_signals(tmp_path / "day")
    settings = config(tmp_path / "day")
    opened = open_market(settings)
    run = Run(settings, opened.market, SimulatedClock(opened.start), threaded=False)
    yield run
    run.journal.close()
    run._lock.release()
    run.engine.dispose()


async def test_before_it_is_ready_and_while_a_part_hangs_it_says_so(run: Run, site: Site) -> None:
    seen = [time.monotonic()]
    made = Pages(run, Notifier(Bus(), {"journal": Beat(lambda: seen[-1])}, str), site.port)
    task = asyncio.create_task(made.run())

    async def asked(path: str) -> tuple[int, object]:
        status, _, body = await asyncio.to_thread(site.ask, "GET", path)
        return status, json.loads(body)

    try:
        while not await asyncio.to_thread(_answers, site):
            assert not task.done(), task
        assert await asked("/readyz") == (503, {"ready": False})
        assert (await asked("/status"))[0] == 200
        assert ("execd_ready", frozenset()) in await asyncio.to_thread(site.series)
        assert await asked("/healthz") == (200, {"healthy": True, "hanging": []})
        seen.append(-1e9)
        assert await asked("/healthz") == (503, {"healthy": False, "hanging": ["journal"]})
        run.ready.set()
        assert await asked("/readyz") == (200, {"ready": True})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not _answers(site)


async def test_who_dawdles_is_cut_off(run: Run, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "CUT_OFF_S", 0.1)
    task = asyncio.create_task(Pages(run, Notifier(Bus(), {}, str), site.port).run())
    try:
        while not await asyncio.to_thread(_answers, site):
            assert not task.done(), task
        with ExitStack() as stack:
            for connection in await asyncio.to_thread(slow, site, stack, 8):
                assert await asyncio.to_thread(is_cut_off, connection)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
