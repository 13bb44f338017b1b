"""Where a Promtail config sends: its clients as options of the sink `loki`, secrets as references."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ..config._yaml import Node
from . import _go
from ._reader import Reader, children, items

_KNOWN = (
    *("name", "url", "tenant_id", "basic_auth", "bearer_token", "bearer_token_file", "authorization", "tls_config"),
    *("external_labels", "batchwait", "batchsize", "backoff_config", "timeout", "headers", "proxy_url", "oauth2"),
    *("drop_rate_limited_batches", "follow_redirects", "enable_http2", "stream_lag_labels"),
)
_NO_EQUAL = {
    "headers": "a proxy before Loki that adds them",
    "proxy_url": "",
    "oauth2": "a proxy before Loki that gets the token, or `bearer: { file: PATH }` with a file that is kept fresh",
}


class Client(msgspec.Struct):
    """One sink of the new config."""

    line: int
    options: dict[str, Any]
    external: dict[str, str]


def clients(root: Node, reader: Reader) -> list[Client]:
    """All of them; the older key `client` is one more."""
    found = []
    nodes = [*([one] if (one := root.child("client")) else []), *items(root.child("clients"))]
    for number, node in enumerate(nodes, 1):
        options = _client(node, reader, "" if number == 1 else str(number))
        found.append(Client(node.line, options, reader.pairs(node.child("external_labels"))))
    return found


def _client(node: Node, reader: Reader, number: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    url = reader.text(node.child("url"))
    parts = urlsplit(url)
    if "@" in parts.netloc and (place := node.child("url")):
        user, _, host = parts.netloc.rpartition("@")
        url = urlunsplit(parts._replace(netloc=host))
        secret = _secret(place, reader, f"LOKI{number}_PASSWORD", "the password in `url`")
        options["basic_auth"] = {"username": user.partition(":")[0], "password": secret}
    options = {"url": url.removesuffix("/loki/api/v1/push"), **options}
    if tenant := reader.text(node.child("tenant_id")):
        options["tenant"] = tenant
    if basic := node.child("basic_auth"):
        password = {"file": reader.text(basic.child("password_file"))}
        if (written := basic.child("password")) is not None:
            password = _secret(written, reader, f"LOKI{number}_PASSWORD", "`password`")
        options["basic_auth"] = {"username": reader.text(basic.child("username")), "password": password}
        reader.unknown(basic, ("username", "password", "password_file"), "basic_auth")
    token = node.child("authorization") or node
    kind = reader.text(token.child("type"), "Bearer") if token is not node else "Bearer"
    name = "credentials" if token is not node else "bearer_token"
    if kind.lower() != "bearer":
        reader.report.add("no equal", token, "`authorization` of a type other than Bearer", "`bearer` or `basic_auth`")
    elif (written := token.child(name)) is not None:
        options["bearer"] = _secret(written, reader, f"LOKI{number}_TOKEN", f"`{name}`")
    elif path := reader.text(token.child(f"{name}_file")):
        options["bearer"] = {"file": path}
    _tls(node.child("tls_config"), options, reader)
    _sending(node, options, reader)
    for key, instead in _NO_EQUAL.items():
        if (one := node.child(key)) is not None:
            reader.report.add("no equal", children(node).get(key, one), f"`{key}` of a client", instead)
    reader.unknown(node, _KNOWN, "a client")
    return options


def _secret(node: Node, reader: Reader, name: str, what: str) -> dict[str, str]:
    """A reference in place of what is written; the report says what to set, never the value."""
    if names := _go.variables(node.text):
        return {"env": names[0]}
    message = f"{what} is not copied: the new config reads the environment variable {name}"
    reader.report.add("differs", node, message, f"set {name}, or write {{ file: PATH }} in its place")
    return {"env": name}


def _tls(node: Node | None, options: dict[str, Any], reader: Reader) -> None:
    if node is None:
        return
    tls: dict[str, Any] = {}
    for name, option in (("ca_file", "ca"), ("cert_file", "cert"), ("key_file", "key")):
        if path := reader.text(node.child(name)):
            tls[option] = path
    if reader.flag(node.child("insecure_skip_verify")):
        tls["verify"] = False
    if tls:
        options["tls"] = tls
    reader.unknown(node, ("ca_file", "cert_file", "key_file", "insecure_skip_verify"), "tls_config")


def _sending(node: Node, options: dict[str, Any], reader: Reader) -> None:
    if wait := reader.duration(node.child("batchwait"), "batchwait"):
        options["batch_wait"] = wait
    if size := reader.size(node.child("batchsize"), "batchsize"):
        options["batch_bytes"] = size
        if size > 2 << 20:
            options["queue_bytes"] = size
    if timeout := reader.duration(node.child("timeout"), "timeout"):
        options["timeout"] = timeout
    if (backoff := node.child("backoff_config")) is not None:
        message = "`backoff_config`: a push is tried again until Loki takes it, and reading waits; nothing is given up"
        reader.report.add("differs", backoff, message)
    if (drop := node.child("drop_rate_limited_batches")) is not None and reader.flag(drop):
        reader.report.add("differs", drop, "`drop_rate_limited_batches`: what Loki puts off is sent later, not dropped")
