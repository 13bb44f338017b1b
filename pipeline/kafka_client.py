"""How a Kafka client connects: TLS, SASL, and where its own log goes. The package itself may be missing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import msgspec

from .component import ProbeError
from .log import log
from .options import Secret, Tls

MISSING = "Kafka needs a package that is not installed: pip install 'tailrace[kafka]'"


class Sasl(msgspec.Struct, forbid_unknown_fields=True):
    """Who we are."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    """PLAIN and SCRAM take a user and a password, OAUTHBEARER a token."""
    username: str = ""
    password: Secret | None = None
    token: Secret | None = None
    """A file is read again for each connection, so that whoever renews the token only has to replace it."""


class Token:
    """Gives the token of a secret as it is now; what aiokafka calls a token provider."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    async def token(self) -> str:
        """Raises ValueError when it can no longer be read."""
        kind, _, where = self._secret.origin.partition(" ")
        return Secret.decode({kind: where}).reveal()

    def extensions(self) -> dict[str, str]:
        """None."""
        return {}


def problems(brokers: Sequence[str], sasl: Sasl | None) -> Iterable[tuple[str, str]]:
    """What is wrong with the options, as a component's `check` says it."""
    if find_spec("aiokafka") is None:
        yield "use", MISSING
    for place, broker in enumerate(brokers):
        host, _, port = broker.rpartition(":")
        if not host or not port.isdecimal() or "/" in broker:
            yield f"brokers[{place}]", f"{broker!r} is not a broker: write HOST:9092"
    if sasl is None:
        return
    if sasl.mechanism == "OAUTHBEARER":
        if sasl.token is None:
            yield "sasl", "OAUTHBEARER needs a `token`: { file: PATH } or { env: NAME }"
        if sasl.username or sasl.password:
            yield "sasl", "OAUTHBEARER takes a `token` only, no user and no password"
    elif not sasl.username or sasl.password is None:
        yield "sasl", f"{sasl.mechanism} needs `username` and `password`"


def connection(brokers: Sequence[str], tls: Tls | None, sasl: Sasl | None) -> dict[str, Any]:
    """The arguments that every client of aiokafka takes. Raises ProbeError for files that cannot be used."""
    _take_its_log()
    secure = "SSL" if tls else "PLAINTEXT"
    made: dict[str, Any] = {
        "bootstrap_servers": list(brokers),
        "client_id": "tailrace",
        "security_protocol": f"SASL_{secure}" if sasl else secure,
    }
    if tls:
        try:
            made["ssl_context"] = tls.context()
        except OSError as error:
            raise ProbeError(f"cannot use these files: {error.strerror or error}", "tls") from None
    if sasl:
        made["sasl_mechanism"] = sasl.mechanism
        if sasl.token:
            from aiokafka.abc import AbstractTokenProvider

            AbstractTokenProvider.register(Token)
            made["sasl_oauth_token_provider"] = Token(sasl.token)
        elif sasl.password:
            made |= {"sasl_plain_username": sasl.username, "sasl_plain_password": sasl.password.reveal()}
    return made


class _Forward(logging.Handler):
    """Its warnings and errors become warnings of ours: it goes on trying."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("the Kafka client says", path=record.name, detail=record.getMessage())


def _take_its_log() -> None:
    logger = logging.getLogger("aiokafka")
    if not any(isinstance(handler, _Forward) for handler in logger.handlers):
        logger.addHandler(_Forward(logging.WARNING))
        logger.propagate = False


async def topics(brokers: Sequence[str], tls: Tls | None, sasl: Sasl | None) -> set[str]:
    """Connect, log in, and see which topics there are. Raises ProbeError."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    admin = AIOKafkaAdminClient(**connection(brokers, tls, sasl))
    try:
        try:
            await admin.start()
            return set(await admin.list_topics())
        except (KafkaError, OSError) as error:
            what = "sasl" if sasl else "tls" if tls else "brokers"
            raise ProbeError(f"cannot connect to Kafka: {error}", what) from None
    finally:
        await admin.close()
