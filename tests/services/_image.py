"""The project's container image, built and run for real: by docker where its engine answers, else by buildah.

Without an engine the image stands on a minimal Debian instead of Python's own image, and runs in namespaces of its own:
first process, no root, no capability, read-only but for its volumes. That needs root and Debian's tools.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ._install import apt_install, engine_answers, run
from ._server import HERE, NotInstalled, cache

ROOT = HERE.parent.parent
RELEASE = "bookworm"
TOOLS = ("buildah", "debootstrap")
BASE = "localhost/tailrace-base"
TAG = "localhost/tailrace-test"
OFFICIAL = "docker.io/library/python:3.11.13-slim-bookworm"
"""What the Dockerfile stands on; a test compares."""
START = """
set -eu
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
    mount --bind "$2" "$root$3"
    if [ "$1" = ro ]; then mount -o remount,bind,ro "$root$3"; fi
    shift 3
done
shift
user=$1; group=$2; folder=$3; shift 3
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec chroot "$root" /usr/bin/setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs \
    --inh-caps=-all --bounding-set=-all /usr/bin/env -i -C "$folder" "$@"
"""
"""Each `exec` becomes the next, so that the program itself is the first process of its namespace."""


class Facts(NamedTuple):
    """What the image says of itself."""

    config: Mapping[str, Any]
    """User, Entrypoint, Cmd, Env, Labels, Volumes, Healthcheck … as docker writes them."""
    bytes_over_base: int


def hindrance() -> str:
    """Why no image can be built here; empty when it can."""
    if engine_answers():
        return ""
    if os.geteuid() != 0:
        return "no container engine answers, and without root there is no building by chroot"
    if shutil.which("apt-get") is None and not all(map(shutil.which, TOOLS)):
        return f"no container engine answers, and {' and '.join(TOOLS)} are not here"
    return ""


def install() -> None:
    """Get what building takes, once: the tools by apt, and the base by debootstrap. Raises `CalledProcessError`."""
    if reason := hindrance():
        print(f"image: not built: {reason}", flush=True)
        return
    if engine_answers() or _has_base():
        print("image: all is here", flush=True)
        return
    began = time.monotonic()
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        print(f"image: installing {' and '.join(missing)}", flush=True)
        apt_install(*missing)
    _home().mkdir(parents=True, exist_ok=True)
    root = _home() / "root"
    shutil.rmtree(root, ignore_errors=True)
    packages = "python3,python3-venv,ca-certificates"
    mirror = _mirror()
    run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, str(root), *([mirror] if mirror else [])]
    )
    container = _buildah("from", "scratch")
    run(["cp", "-a", f"{root}/.", _buildah("mount", container)])
    _buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
    _buildah("commit", "--quiet", "--format", "docker", "--rm", container, BASE)
    shutil.rmtree(root)
    print(f"image: the base is in {_home()} after {time.monotonic() - began:.0f} s", flush=True)


class Image:
    """The image of the checkout, as `build` leaves it. Gone with `remove`."""

    def __init__(self) -> None:
        self._docker = engine_answers()
        self._container = ""
        self._root = ""

    def build(self) -> Facts:
        """Build it. Raises `NotInstalled` when the base is missing, `CalledProcessError` when the Dockerfile fails."""
        if self._docker:
            run(["docker", "build", "--quiet", "--tag", TAG, str(ROOT)])
            ((config, size),) = (self._docker_facts(TAG),)
            return Facts(config, size - self._docker_facts(OFFICIAL)[1])
        if not _has_base():
            raise NotInstalled("the base of the image is not in the cache: `make services` gets it")
        downloads = _home() / "pip"
        downloads.mkdir(exist_ok=True)
        mounts = [f"{downloads}:/root/.cache/pip"]
        if trusted := ssl.get_default_verify_paths().cafile:  # who answers for the package index may be this machine's
            mounts.append(f"{trusted}:/etc/ssl/certs/ca-certificates.crt:ro")
        _buildah(
            *("bud", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull-never"),
            *(word for mount in mounts for word in ("--volume", mount)),
            *("--build-arg", f"BASE={BASE}", "--tag", TAG, str(ROOT)),
        )
        self._container = _buildah("from", "--pull-never", TAG)
        self._root = _buildah("mount", self._container)
        config = json.loads(_buildah("inspect", "--type", "image", TAG))["Docker"]["config"]
        return Facts(config, _bytes(self._root) - _base_bytes())

    def remove(self) -> None:
        """Remove it, not its base."""
        if self._docker:
            run(["docker", "image", "rm", "--force", TAG])
        elif self._container:
            _buildah("rm", self._container)
            _buildah("rmi", "--force", TAG)

    @staticmethod
    def _docker_facts(name: str) -> tuple[dict[str, Any], int]:
        (told,) = json.loads(run(["docker", "image", "inspect", name]))
        return told["Config"], told["Size"]

    def user(self, facts: Facts) -> tuple[int, int]:
        """Number of the user and of its group."""
        user, _, group = facts.config["User"].partition(":")
        return int(user), int(group)

    @contextmanager
    def container(
        self, facts: Facts, command: list[str], volumes: Mapping[str, tuple[Path, str]], log: Path
    ) -> Iterator[Container]:
        """Run a command in it, read-only, on the host's network; `volumes`: path inside, to folder and `ro` or `rw`."""
        if self._docker:
            mounts = [f"{folder}:{path}:{mode}" for path, (folder, mode) in volumes.items()]
            words = ["docker", "run", "--rm", "--read-only", "--network=host", "--cap-drop=ALL"]
            words += [word for mount in mounts for word in ("--volume", mount)]
            words += [f"--entrypoint={command[0]}", TAG, *command[1:]]
        else:
            for path in volumes:  # docker makes missing mount points, too
                Path(f"{self._root}{path}").mkdir(parents=True, exist_ok=True)
            user, group = self.user(facts)
            words = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", START, "sh"]
            words += [self._root]
            words += [word for path, (folder, mode) in volumes.items() for word in (mode, str(folder), path)]
            words += ["--", str(user), str(group), facts.config["WorkingDir"], *facts.config["Env"], *command]
        with log.open("wb") as out:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield Container(process, inside=not self._docker)
        finally:
            process.kill()
            process.wait()


class Container:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[bytes], *, inside: bool) -> None:
        self._process = process
        self._inside = inside

    def running(self) -> bool:
        """False once it has ended by itself."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to its first process, as an engine does; docker's client passes it on."""
        pid = self._process.pid
        if self._inside:  # `unshare` is the parent of the namespace's first process
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(pid, number)

    def wait(self, seconds: float = 60) -> int:
        """The exit code. Raises `TimeoutExpired`."""
        return self._process.wait(seconds)


def _home() -> Path:
    return cache() / f"image-{RELEASE}"


def _buildah(*words: str) -> str:
    """Run buildah on a store of our own; its temporary files lie there too, for a whole system goes through them."""
    home = _home()
    scratch = home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    # Folders are copied, not laid over each other: that works on every file system.
    command = [
        "buildah",
        "--root",
        str(home / "store"),
        "--runroot",
        str(home / "run"),
        "--storage-driver",
        "vfs",
        *words,
    ]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(scratch)}
    )
    return done.stdout.strip()


def _has_base() -> bool:
    if not all(map(shutil.which, TOOLS)) or not (_home() / "store").exists():
        return False
    return f"{BASE}:latest" in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()


def _base_bytes() -> int:
    container = _buildah("from", "--pull-never", BASE)
    try:
        return _bytes(_buildah("mount", container))
    finally:
        _buildah("rm", container)


def _bytes(folder: str) -> int:
    return int(run(["du", "--summarize", "--bytes", folder]).split()[0])


def _mirror() -> str:
    """Where this machine has its packages from; empty for debootstrap's own."""
    for path in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for line in path.read_text().splitlines():
            if line.startswith("URIs:"):
                return line.split()[1]
    return ""
