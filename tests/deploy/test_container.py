"""The container files as far as they can be read: nothing here builds or runs them."""

import re
import tomllib

from daemon.config import load
from tests.daemon.service import ROOT

CONTAINERFILE = (ROOT / "deploy/container/Containerfile").read_text()
COMPOSE = (ROOT / "deploy/container/compose.example.yml").read_text()
UNBUILT = ("NEVER BUILT BY ITS AUTHORS", "NEVER RUN BY ITS AUTHORS")


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of one kind, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", CONTAINERFILE)
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)


def test_files_that_nobody_tried_say_so_at_their_top_and_in_the_readme() -> None:
    for text, words in zip((CONTAINERFILE, COMPOSE), UNBUILT, strict=True):
        assert words in "".join(text.splitlines(keepends=True)[:3])
    assert "neither was ever built or run" in (ROOT / "deploy/README.md").read_text()


def test_the_image_holds_every_package_of_the_wheel_and_the_build_sees_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert copied == packages | {"requirements/run.txt", "pyproject.toml", "LICENSE"}
    seen = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")}
    assert seen == {"*", "**/__pycache__"} | {f"!{name}" for name in copied}


def test_everything_that_is_installed_is_a_wheel_with_a_hash() -> None:
    (installs,) = [line for line in instructions("RUN") if "-r requirements/run.txt" in line]
    assert "--require-hashes --only-binary :all:" in installs
    (ours,) = [line for line in instructions("RUN") if " . " in line]
    assert "--no-deps --no-build-isolation" in ours


def test_the_image_runs_as_nobody_in_particular_and_holds_no_secret() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert [
        line for line in instructions("(?:ENV|ARG)") if re.search("password|secret_|token|_key", line, re.IGNORECASE)
    ] == []
    assert instructions("ENTRYPOINT") == ['["/usr/bin/tini", "--", "/opt/execd/bin/execd"]']


def test_the_health_check_asks_the_port_of_the_services_configuration() -> None:
    (check,) = instructions("HEALTHCHECK")
    assert f"'EXECD_HTTP__PORT', '{load(ROOT / 'deploy/execd.service.toml', {}).http.port}'" in check
    assert "/healthz" in check


def test_every_container_is_walled_and_none_holds_a_secret_in_its_environment() -> None:
    services = re.findall(r"^  (\w+):\n((?:    .*\n|\n|  +#.*\n)+)", COMPOSE.split("\nservices:\n")[1], re.MULTILINE)
    bodies = {name: body for name, body in services if "image:" in body}
    assert set(bodies) == {"loopback", "execd", "valkey", "postgres", "prometheus"}
    for name, body in bodies.items():
        assert "<<: *walls" in body or "cap_drop: [ALL]" in body, name
        assert not re.search(r"PASSWORD:|--requirepass", body), name
