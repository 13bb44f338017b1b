"""Certificates for those who speak TLS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `server.pem` and `client.pem`, each a key and a certificate for 127.0.0.1 that signs itself."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("needs openssl to make certificates")
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client"):
        command = (
            f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
        )
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        extra = ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*command.split(), *files, *extra], check=True, capture_output=True)
        pem = (folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text()
        (folder / f"{name}.pem").write_text(pem)
    return folder
