"""The generated parts of the documentation: diagrams and tables drawn from the code that they describe.

A page marks each of them with a pair of comments, `generated:NAME` and `/generated`; what stands between is replaced.
`python -m docs.build` writes the pages anew, `--check` only says which of them are stale.
"""

import ast
import inspect
import json
import re
import sys
import tokenize
import types
import typing
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from enum import Enum, EnumMeta
from io import StringIO
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import typer

from algos.planning import ALGOS
from core import events, signals
from core.causes import CAUSES, Release
from core.events import AnyEvent, Event, Reason
from core.orders import TERMINAL, TRANSITIONS, OrdStatus, Trigger
from daemon import cli
from daemon.bus import Bus
from daemon.config import Config
from daemon.wiring import Actors, wire
from risk.checks import CHECKS

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SCHEMA = DOCS / "signals.schema.json"

# Who speaks where no actor of the wiring does: the module that makes the event, in words.
EDGES = {
    "adapters.brokers.paper": "gateway",
    "adapters.signals.file": "source",
    "adapters.signals.source": "source",
    "core.market": "feed",
    "core.trading": "halts",
    "daemon.timers": "timer",
}

Row = tuple[str, ...]


# Pages ----------------------------------------------------------------------------------------------------------------

_PART = re.compile(r"(<!-- generated:([\w-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page with generated parts, and the schema of signals, as they should be."""
    fresh = {path: filled(path.read_text()) for path in sorted(DOCS.rglob("*.md"))}
    return fresh | {SCHEMA: json.dumps(signals.schema(), indent=2) + "\n"}


def filled(page: str) -> str:
    """A page with its generated parts made anew; raises KeyError for a part that nobody makes."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", page)


def stale() -> list[Path]:
    """Pages that are not as they should be."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text() != text]


def main(arguments: list[str]) -> int:
    """Write what is stale, or with `--check` only name it; the exit code is 1 where the check finds something."""
    found = pages()
    old = stale()
    check = "--check" in arguments
    for path in old:
        print(f"{path.relative_to(ROOT)}: {'stale, run `make docs`' if check else 'written'}")
        if not check:
            path.write_text(found[path])
    return 1 if check and old else 0


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _paragraphs(thing: object) -> list[str]:
    """The docstring's paragraphs, each on one line."""
    return [" ".join(part.split()) for part in (inspect.getdoc(thing) or "").split("\n\n")]


# Wiring ---------------------------------------------------------------------------------------------------------------


class Wiring:
    """Takes the place of the bus and of its actors, and remembers who listens to what, as `actor.method`."""

    def __init__(self) -> None:
        self.folds: dict[type[Event], list[str]] = defaultdict(list)
        self.decisions: dict[type[Event], list[str]] = defaultdict(list)
        self.hands: dict[type[Event], list[str]] = defaultdict(list)
        self.actors: dict[str, type] = typing.get_type_hints(Actors)
        self._names = {kind: name for name, kind in self.actors.items()}
        wire(cast("Bus", self), cast("Actors", types.SimpleNamespace(**self.actors)))

    def fold(self, kind: type[Event], *listeners: Callable[..., Any]) -> None:
        """As on the bus."""
        self.folds[kind] += map(self._name, listeners)

    def on(self, kind: type[Event], *listeners: Callable[..., Any]) -> None:
        """As on the bus."""
        self.decisions[kind] += map(self._name, listeners)

    def hand(self, kind: type[Event], *listeners: Callable[..., Any]) -> None:
        """As on the bus."""
        self.hands[kind] += map(self._name, listeners)

    def tap(self, *listeners: Callable[..., Any]) -> None:
        """Taps see everything: there is nothing to draw."""

    def after(self, *listeners: Callable[..., Any]) -> None:
        """Nor is there of those who wait for rest."""

    def _name(self, listener: Callable[..., Any]) -> str:
        owner = listener.__qualname__.partition(".")[0]
        return f"{next(name for kind, name in self._names.items() if kind.__name__ == owner)}.{listener.__name__}"

    def emitters(self) -> dict[str, list[str]]:
        """The names of events, and who makes them: the modules whose code constructs one."""
        homes = {kind.__module__: name for name, kind in self.actors.items() if name not in {"exposure", "ledger"}}
        found: dict[str, dict[str, None]] = defaultdict(dict)
        for top in ("core", "adapters", "algos", "daemon", "risk", "tca"):
            for path in sorted((ROOT / top).rglob("*.py")):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                if module == events.__name__:
                    continue
                speaker = homes.get(module) or EDGES.get(module) or module.rpartition(".")[2]
                for event in _constructed(path):
                    found[event][speaker] = None
        return {event: sorted(speakers) for event, speakers in found.items()}


def _constructed(path: Path) -> Iterator[str]:
    names = {kind.__name__ for kind in typing.get_args(AnyEvent)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in names:
                yield name


def wiring() -> str:
    """Who decides on, or is handed, what somebody else said."""
    page, speakers = Wiring(), Wiring().emitters()
    edges: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for kind in typing.get_args(AnyEvent):
        for arrow, listeners in (("-->", page.decisions[kind]), ("-.->", page.hands[kind])):
            for speaker in speakers.get(kind.__name__, []):
                for listener in listeners:
                    edges[speaker, arrow, listener.partition(".")[0]].append(kind.__name__)
    outside = sorted({speaker for speaker, _, _ in edges} - set(page.actors))
    nodes = [f"    {name}([{name}])" for name in outside]
    drawn = [f'    {a} {arrow}|"{"<br/>".join(dict.fromkeys(said))}"| {b}' for (a, arrow, b), said in edges.items()]
    return "\n".join(["```mermaid", "flowchart LR", *nodes, *drawn, "```"])


def listeners() -> str:
    """Every event: what it is, who makes it, who listens."""
    page, speakers = Wiring(), Wiring().emitters()
    rows = [
        (
            _code(kind.__name__),
            ", ".join(speakers.get(kind.__name__, [])),
            _code(*page.folds[kind]),
            _code(*page.decisions[kind]),
            _code(*page.hands[kind]),
        )
        for kind in typing.get_args(AnyEvent)
    ]
    return _table(("event", "said by", "folded by", "decided by", "handed to"), rows)


def vocabulary() -> str:
    """Every event and what it means."""
    kinds = typing.get_args(AnyEvent)
    return _table(("event", "means"), [(_code(kind.__name__), _paragraphs(kind)[0]) for kind in kinds])


# Orders ---------------------------------------------------------------------------------------------------------------


def lifecycle() -> str:
    """The table of orders: what every open state shares is drawn once, stale moves that change nothing are left out."""
    opened = [status for status in TRANSITIONS if status not in TERMINAL and status is not OrdStatus.SETTLING]
    shared = _shared(opened)
    inside: dict[tuple[str, str], list[Trigger]] = defaultdict(list)
    outside: dict[tuple[str, str], list[Trigger]] = defaultdict(list)
    for trigger, status in shared.items():
        outside["OPEN", status].append(trigger)
    for start, moves in TRANSITIONS.items():
        for trigger, end in moves.items():
            if start is not end and not (start in opened and shared.get(trigger) is end):
                (inside if start in opened and end in opened else outside)[start, end].append(trigger)
    return "\n".join([
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> OPEN : approved",
        '    state "may execute" as OPEN {',
        f"        [*] --> {opened[0]}",
        *(f"        {_move(*move)}" for move in inside.items()),
        "    }",
        *(f"    {_move(*move)}" for move in outside.items()),
        *(f"    {status} --> [*]" for status in TRANSITIONS if status in TERMINAL),
        "```",
    ])  # fmt: skip


def _shared(opened: Sequence[OrdStatus]) -> dict[Trigger, OrdStatus]:
    """Triggers that lead out of the open states, to one and the same status from each of them."""
    targets = {trigger: {TRANSITIONS[status].get(trigger) for status in opened} for trigger in Trigger}
    alike = {trigger: next(iter(found)) for trigger, found in targets.items() if len(found) == 1}
    return {trigger: status for trigger, status in alike.items() if status is not None and status not in opened}


def _move(ends: tuple[str, str], triggers: list[Trigger]) -> str:
    return f"{ends[0]} --> {ends[1]} : {' / '.join(triggers)}"


# Structs --------------------------------------------------------------------------------------------------------------


def comments(source: str) -> dict[str, str]:
    """Names that are assigned or annotated at the top level of a module or class, and the comments behind them."""
    said = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip()
    }
    found: dict[str, str] = {}
    tree = ast.parse(source)
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else tree.body
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            found[target.id] = next((said[line] for line in lines if line in said), "")
    return found


def _meanings(kind: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            found |= comments(inspect.getsource(base))
    return found


def _fields(kind: type[msgspec.Struct]) -> list[Row]:
    said = {name: re.sub(r"^(\d+)(?=,|$)", r"FIX \1", text) for name, text in _meanings(kind).items()}
    return [
        (_code(field.encode_name), _words(field.type), _default(field), said.get(field.name, ""))
        for field in msgspec.structs.fields(kind)
    ]


_PLAIN = {
    str: "text", int: "integer", float: "number", Decimal: "exact number", bool: "true or false", type(None): "",
}  # fmt: skip


def _words(kind: Any) -> str:  # noqa: ANN401 - any annotation
    """A type in the words of somebody who writes TOML or JSON."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(filter(None, map(_words, inner)))
    if origin is tuple:
        several = inner[-1] is Ellipsis
        return f"list of {_words(inner[0])}" if several else f"list of {len(inner)}: {_words(inner[0])}"
    if origin is dict:
        return f"table of {_words(inner[1])}s by {'symbol' if inner[0] is str else _words(inner[0])}"
    if isinstance(kind, EnumMeta):
        return " or ".join(f"`{member.value}`" for member in cast("list[Enum]", list(kind)))
    return "table, see below"


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = cast("Callable[[], object]", field.default_factory)()
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None or value == {}:
        return "none"
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    if isinstance(value, Decimal):
        return f"`{value}`"
    return f"`{value.value if isinstance(value, Enum) else json.dumps(value)}`".replace('`""`', "empty")


# Configuration --------------------------------------------------------------------------------------------------------


_KEYS = {
    "limits.strategies": "STRATEGY",
    "limits.venues": "VENUE",
    "venues": "NAME",
}  # of tables that are not one for each symbol


def configuration() -> str:
    """Every table and key of a configuration file."""
    return "\n\n".join(_sections(Config, ""))


def _sections(kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    nested: list[tuple[type[msgspec.Struct], str]] = []
    keys = []
    for field, row in zip(msgspec.structs.fields(kind), _fields(kind), strict=True):
        table, by_symbol = _table_of(field.type)
        if table is None:
            keys.append(row)
        else:
            name = f"{path}.{field.encode_name}" if path else field.encode_name
            nested.append((table, f"{name}.{_KEYS.get(name, 'SYMBOL')}" if by_symbol else name))
    if path:
        text = [re.sub(r"^\[\w+\] - (\w)", lambda found: found[1].upper(), part) for part in _paragraphs(kind)]
        yield "\n\n".join([f"### `[{path}]`", *text, _table(("key", "type", "default", "meaning"), keys)])
    for table, name in nested:
        yield from _sections(table, name)


def _table_of(kind: Any) -> tuple[type[msgspec.Struct] | None, bool]:  # noqa: ANN401 - any annotation
    """The struct that a TOML table is read into, and whether there is one for each of several."""
    by_symbol = typing.get_origin(kind) is dict
    inner = typing.get_args(kind)[1] if by_symbol else kind
    return (inner, by_symbol) if isinstance(inner, type) and issubclass(inner, msgspec.Struct) else (None, False)


# Signals --------------------------------------------------------------------------------------------------------------


def signal_fields() -> str:
    """What all kinds share, what each adds, and how to work it."""
    kinds = typing.get_args(signals.Signal)
    shared = set.intersection(*({field.encode_name for field in msgspec.structs.fields(kind)} for kind in kinds))
    head = ("field", "type", "default", "meaning")
    common = [row for row in _fields(kinds[0]) if row[0].strip("`") in shared]
    parts = ["### Every kind", _table(head, common)]
    for kind in kinds:
        own = [row for row in _fields(kind) if row[0].strip("`") not in shared]
        tag = kind.__struct_config__.tag
        parts += [f"### `{tag}`", *_paragraphs(kind), _table(head, own)]
    for name, inner in (("change", signals.Change), ("how", signals.Instruction)):
        parts += [f"### `{name}`", *_paragraphs(inner), _table(head, _fields(inner))]
    return "\n\n".join(parts)


def signal_bounds() -> str:
    """The constants that bound a signal."""
    said = comments(inspect.getsource(signals))
    rows = [
        (_code(name), f"{getattr(signals, name):,}", text)
        for name, text in said.items()
        if name.isupper() and isinstance(getattr(signals, name), int | float | Decimal)
    ]
    return _table(("bound", "value", "of what"), rows)


# The gate and the algorithms ------------------------------------------------------------------------------------------


def checks() -> str:
    """The gate's checks in their order."""
    rows = []
    for number, check in enumerate(CHECKS, 1):
        reasons = dict.fromkeys(re.findall(r"\bReason\.(\w+)", "\n".join(_with_helpers(check))))
        rows.append((str(number), _code(check.__name__), _paragraphs(check)[0], _code(*(Reason[r] for r in reasons))))
    return _table(("", "check", "passes where", "denies with"), rows)


def _with_helpers(function: Callable[..., object]) -> Iterator[str]:
    """The source of a function and of those in its module that it calls, and they; none calls itself."""
    source, module = inspect.getsource(function), sys.modules[function.__module__]
    yield source
    for name in dict.fromkeys(re.findall(r"\b(_\w+)\(", source)):
        helper = getattr(module, name, None)
        if inspect.isfunction(helper) and helper is not function:
            yield from _with_helpers(helper)


def causes() -> str:
    """The table of what may hold trading back."""
    rows = [
        (_code(name), cause.meaning, _code(cause.state), _code(cause.working), _code(cause.release), cause.owner)
        for name, cause in CAUSES.items()
    ]
    return _table(("cause", "means", "state", "working orders", "ends by", "owner"), rows)


def releases() -> str:
    """What ends a cause."""
    said = comments(inspect.getsource(Release))
    return _table(("ends by", "which is"), [(_code(each), said[each.name]) for each in Release])


def algorithms() -> str:
    """The table of algorithms."""
    rows = [
        (_code(algo), _code(f"{plan.__module__}.{plan.__name__}"), _paragraphs(plan)[0]) for algo, plan in ALGOS.items()
    ]
    return _table(("algo", "its curve", ""), rows)


# The command line -----------------------------------------------------------------------------------------------------


def exit_codes() -> str:
    """Exit codes and what they say."""
    said = comments(inspect.getsource(cli.ExitCode))
    rows = [(str(code.value), _code(code.name), said.get(code.name) or "all is well") for code in cli.ExitCode]
    return _table(("code", "name", "says"), rows)


def commands() -> dict[str, Any]:
    """The commands of the program by their words, with the objects that the command line is made of."""
    return dict(_commands(typer.main.get_command(cli.app), ""))


def _commands(group: Any, words: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - the command line's own types
    for name, command in group.commands.items():
        full = f"{words} {name}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        else:
            yield full, command


def command_list() -> str:
    """Commands with their options."""
    rows = []
    for words, command in commands().items():
        options = " ".join(_option(option) for option in command.params if option.name != "help")
        rows.append((f"`execd {words}`", " ".join((command.help or "").split()), options))
    return _table(("command", "does", "takes"), rows)


def _option(option: Any) -> str:  # noqa: ANN401 - the command line's own types
    if option.param_type_name == "argument":
        return f"`{option.name.upper()}`"
    shown = f"`{option.opts[0]}`"
    return shown if option.required else f"[{shown}]"


PARTS: dict[str, Callable[[], str]] = {
    "algorithms": algorithms,
    "causes": causes,
    "checks": checks,
    "commands": command_list,
    "configuration": configuration,
    "events": vocabulary,
    "exit-codes": exit_codes,
    "lifecycle": lifecycle,
    "listeners": listeners,
    "releases": releases,
    "signal-bounds": signal_bounds,
    "signal-fields": signal_fields,
    "wiring": wiring,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
