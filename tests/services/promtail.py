"""Promtail, to compare with what its config became."""

from __future__ import annotations

from pathlib import Path

from ._install import go_build, go_source, run
from ._server import Server


class Promtail(Server):
    """Promtail with the config `promtail.yml` of its folder."""

    name = "promtail"
    version = "3.5.0"
    programs = ("promtail",)
    images = {"grafana/promtail:3.5.0": ("/usr/bin/promtail",)}

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """From Loki's Go module, without the journal, which needs C."""
        source = go_source("github.com/grafana/loki/v3", f"v{cls.version}", scratch)
        # This package is a module of its own, so the module's archive lacks the folder it is replaced with.
        run(["go", "mod", "edit", "-dropreplace=github.com/grafana/loki/pkg/push"], cwd=source)
        go_build(source, "./clients/cmd/promtail", into / "promtail")

    def command(self) -> list[str]:
        """The port of the config gives way to a free one."""
        config = f"-config.file={self.folder / 'promtail.yml'}"
        return [str(self.program("promtail")), config, f"-server.http-listen-port={self.ports[0]}", *self.flags]
