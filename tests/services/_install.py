"""Getting servers into the cache: from a container image if an engine answers, else from Go modules or packages."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from ._server import Server, cache


def install(server: type[Server]) -> None:
    """Put the programs of a server into the cache, unless they are there. Raises `CalledProcessError`."""
    what = f"{server.name} {server.version}"
    if all((server.home() / program).exists() for program in server.programs):
        print(f"{what}: is in {server.home()}", flush=True)
        return
    if reason := server.hindrance():
        print(f"{what}: not installed: {reason}", flush=True)
        return
    cache().mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f"{server.name}-") as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        if server.images and engine_answers():
            print(f"{what}: from its container image", flush=True)
            from_images(server, made)
        else:
            why = "no container engine answers" if server.images else "it has no image"
            print(f"{what}: {why}, so it is built, unpacked or installed", flush=True)
            server.build(made, Path(scratch))
        server.complete(made)
        for program in server.programs:
            subprocess.run(
                [made / program, *server.tells_version],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        shutil.rmtree(server.home(), ignore_errors=True)
        made.rename(server.home())
        run(["chmod", "-R", "u+w", scratch])  # Go's module cache is read-only, and so are copies of it
    print(f"{what}: in {server.home()} after {time.monotonic() - began:.0f} s", flush=True)


def engine_answers() -> bool:
    """True when `docker` is there and its engine answers."""
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def from_images(server: type[Server], into: Path) -> None:
    """Copy the programs out of the images; nothing is run in a container."""
    for image, paths in server.images.items():
        container = run(["docker", "create", image]).strip()
        try:
            for path in paths:
                run(["docker", "cp", f"{container}:{path}", str(into)])
        finally:
            run(["docker", "rm", container])


def go_source(module: str, version: str, scratch: Path) -> Path:
    """A writable copy of a Go module's source."""
    told = run(["go", "mod", "download", "-json", f"{module}@{version}"], cwd=scratch)
    source = scratch / "source"
    shutil.copytree(json.loads(told)["Dir"], source, copy_function=shutil.copyfile)
    run(["chmod", "-R", "u+w", str(source)])
    return source


def go_build(source: Path, package: str, into: Path, *link: str) -> None:
    """Build one Go program without C, at low priority; `link`: further flags for the linker."""
    flags = " ".join(["-s", "-w", *link])
    command = ["nice", "-n", "5", "env", "CGO_ENABLED=0", "go", "build", "-mod=mod", "-trimpath", f"-ldflags={flags}"]
    run([*command, "-o", str(into), package], cwd=source)


def debian_package(name: str, scratch: Path) -> Path:
    """The unpacked files of a Debian package; it is not installed."""
    as_we_are = ["-o", "APT::Sandbox::User=root"]  # another user could not write into our folder
    fetch = ["apt-get", "-qq", *as_we_are, "download", name]
    try:
        run(fetch, cwd=scratch)
    except subprocess.CalledProcessError:  # the lists of a new machine are empty
        run(["apt-get", "update", "-qq"])
        run(fetch, cwd=scratch)
    (package,) = scratch.glob(f"{name}_*.deb")
    run(["dpkg-deb", "-x", str(package), str(scratch / "unpacked")])
    return scratch / "unpacked"


def apt_install(*packages: str) -> None:
    """Install Debian packages on this machine. Raises `CalledProcessError`, also without root."""
    get = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    try:
        run(get)
    except subprocess.CalledProcessError:  # the lists of a new machine are empty
        run(["apt-get", "update", "-qq"])
        run(get)


def maven_libraries(libraries: Mapping[str, str], into: Path, scratch: Path) -> None:
    """Java libraries (`group:artifact` and version) with all that they need, from Maven Central."""
    wanted = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        for name, version in libraries.items()
        for group, artifact in [name.split(":")]
    )
    project = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
        <groupId>tailrace</groupId><artifactId>services</artifactId><version>1</version><packaging>pom</packaging>
        <dependencies>{wanted}</dependencies></project>"""
    (scratch / "pom.xml").write_text(project)
    run(
        ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"],
        scratch,
    )


def run(command: list[str], cwd: Path | None = None) -> str:
    """Run a command and return what it prints; its complaints go to the terminal. Raises `CalledProcessError`."""
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout
