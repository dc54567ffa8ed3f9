"""A machine of its own for tests: systemd as process 1, in namespaces, over a copy of this machine's files.

Nothing outside changes: files are an overlay in memory, the network is a loopback interface of its own, processes and
control groups are below one that goes when the machine does. It takes root, Linux and systemd; where one is missing,
tests that need it are skipped and say so.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INIT = Path("/lib/systemd/systemd")
READY_S = 30.0
HIDDEN = ("/home", "/root", "/run/user")  # by ProtectHome
_PR_SET_PDEATHSIG = 1

PYTHON = "/opt/python"  # of the machine; ours may be in a home, which services do not see
PROGRAM = "/opt/execd/current"
SHOWN = {str(ROOT): str(ROOT), sys.prefix: sys.prefix, sys.base_prefix: PYTHON}

# Mounts are private to the namespace that runs this. What a container's manager does, and no more.
_BUILD = """
set -eu
base=$1; shift
mount -t tmpfs tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$base/root"
cd "$base/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
while [ $# -gt 0 ]; do mkdir -p "./$2"; mount --bind "$1" "./$2"; mount -o remount,bind,ro "./$2"; shift 2; done
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
printf '[Unit]\\nDefaultDependencies=no\\n' > etc/systemd/system/trial.target
mkdir old
pivot_root . old
umount -l /old
mount --make-rshared /
ip link set lo up
exec env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --unit=trial.target --log-target=console --show-status=no
"""


def _obstacle() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "takes root on Linux"
    if not INIT.exists():
        return "systemd is not installed"
    missing = [name for name in ("unshare", "nsenter", "ip", "pivot_root") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    unified = _unified()
    if unified is None or not os.access(unified, os.W_OK):
        return "there is no control group hierarchy of version 2 to write to"
    if any(ROOT.is_relative_to(hidden) for hidden in HIDDEN):
        return f"{ROOT} is hidden from services"
    probe = ("unshare", "--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc", "--fork", "mount", "-t", "tmpfs")
    tried = subprocess.run([*probe, "tmpfs", "/mnt"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def _unified() -> Path | None:
    """Where the hierarchy of version 2 is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


OBSTACLE = _obstacle()
needs_machine = pytest.mark.skipif(bool(OBSTACLE), reason=f"no machine to try: {OBSTACLE}")


class Machine:
    """Runs from `start` to `stop`. Its files are under `root`, as root sees them from outside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        unified = _unified()
        assert unified is not None
        self._group = unified / f"execd-trial-{os.getpid()}"
        self._outer: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def root(self) -> Path:
        """The root directory."""
        return Path(f"/proc/{self._pid}/root")

    def start(self) -> "Machine":
        """Boot, and return once the manager answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._group.mkdir()
        spaces = ("--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc", "--propagation", "private")
        shown = [name for source, target in SHOWN.items() for name in (source, target)]
        with (self._folder / "systemd.log").open("wb") as log:
            self._outer = subprocess.Popen(
                ["unshare", *spaces, "--fork", "--kill-child", "sh", "-c", _BUILD, "sh", str(self._folder), *shown],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._enter,  # noqa: PLW1509 - no threads yet
            )
        self._await(self._is_up)
        return self

    def install_program(self) -> None:
        """An environment where a deployment has it, with the code and the packages of the one that runs this test."""
        source, there = Path(sys.prefix), self.root / PROGRAM.lstrip("/")
        (there / "bin").mkdir(parents=True)
        (there / "lib").symlink_to(source / "lib")
        (there / "pyvenv.cfg").write_text(f"home = {PYTHON}/bin\ninclude-system-site-packages = false\n")
        (there / "bin/python").symlink_to(f"{PYTHON}/bin/python3")
        script = (source / "bin/execd").read_text().split("\n", 1)[1]
        (there / "bin/execd").write_text(f"#!{PROGRAM}/bin/python\n{script}")
        (there / "bin/execd").chmod(0o755)
        (self.root / "etc/ld.so.conf.d/execd.conf").write_text(f"{PYTHON}/lib\n")  # where it is not where it was built
        self.run("ldconfig")

    def _enter(self) -> None:
        """In the child: into the control group, and gone with its parent (`unshare` hears nothing but SIGKILL)."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        (self._group / "cgroup.procs").write_text("0")

    def _is_up(self) -> bool:
        assert self._outer is not None
        assert self._outer.poll() is None, (self._folder / "systemd.log").read_text()
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
            return False
        self._pid = int(children[0])
        return self.run("systemctl", "is-system-running", check=False).strip() == "running"

    def _await(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_S
        while not holds():
            assert time.monotonic() < deadline, (self._folder / "systemd.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Switch it off."""
        if self._outer is not None:
            self._outer.kill()  # and with it, by the kernel, everything in its namespaces
            self._outer.wait()
            self._outer = None
        for folder in sorted((path for path in self._group.rglob("*") if path.is_dir()), reverse=True):
            self._remove(folder)
        self._remove(self._group)

    def _remove(self, folder: Path) -> None:
        deadline = time.monotonic() + READY_S
        while folder.exists() and time.monotonic() < deadline:
            try:
                folder.rmdir()
            except OSError:  # the kernel has not yet buried its last process
                time.sleep(0.02)

    def process(self, *command: str, user: str = "") -> "subprocess.CompletedProcess[str]":
        """What a command in the machine says, as `user` with the groups of that user, else as root."""
        if user:
            command = ("runuser", "-u", user, "--", *command)
        inside = (
            "nsenter",
            "--target",
            str(self._pid),
            "--all",
            "--",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        )
        return subprocess.run([*inside, *command], capture_output=True, text=True, check=False, cwd="/")

    def run(self, *command: str, user: str = "", check: bool = True) -> str:
        """Standard output of a command."""
        done = self.process(*command, user=user)
        assert not check or done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file, with the folders above it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        said = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in said.splitlines())
