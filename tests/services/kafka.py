"""Kafka, one broker that is its own controller (KRaft), with making, filling and reading topics for tests."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ._install import maven_libraries
from ._server import Server

USER, PASSWORD = "shipper", "correct horse"
"""Who may come in through the listener with SASL, by PLAIN or SCRAM."""

_CLASSPATH_SCRIPT = """\
#!/bin/sh
# Runs a class of Kafka; without one the broker itself.
home=$(dirname "$0")
case $1 in kafka.*|org.*) ;; *) set -- kafka.Kafka "$@" ;; esac
exec java -Xmx${KAFKA_HEAP:-256m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \\
  "-Dlog4j2.configurationFile=$home/log4j2.yaml" -cp "$home/libs/*" "$@"
"""
_LOGGING = """\
Configuration:
  Appenders:
    Console: { name: out, PatternLayout: { pattern: "[%d] %p %m (%c)%n" } }
  Loggers:
    Root: { level: INFO, AppenderRef: [ { ref: out } ] }
"""


class Kafka(Server):
    """A broker with a plain listener, one with SASL (PLAIN, SCRAM, OAUTHBEARER with unsigned tokens), one with TLS.

    Flags are properties that override its own, e.g. `Kafka(folder, "log.retention.check.interval.ms=100")`.
    """

    name = "kafka"
    version = "4.1.1"
    programs = ("kafka",)
    images = {"apache/kafka:4.1.1": ("/opt/kafka/libs",)}
    ports_needed = 4
    _said = 0
    """The size of the log before this start."""

    @classmethod
    def build(cls, into: Path, scratch: Path) -> None:
        """From Maven Central."""
        libraries = {
            "org.apache.kafka:kafka_2.13": cls.version,
            "org.apache.kafka:kafka-tools": cls.version,
            "org.apache.logging.log4j:log4j-slf4j-impl": "2.24.3",
        }
        maven_libraries(libraries, into / "libs", scratch)

    @classmethod
    def complete(cls, into: Path) -> None:
        """The program that runs what is in the jars."""
        (into / "log4j2.yaml").write_text(_LOGGING)
        program = into / cls.name
        program.write_text(_CLASSPATH_SCRIPT)
        program.chmod(0o755)

    @property
    def address(self) -> str:
        """For `brokers`, without any authentication."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def sasl_address(self) -> str:
        """For `brokers`, with SASL."""
        return f"127.0.0.1:{self.ports[2]}"

    @property
    def tls_address(self) -> str:
        """For `brokers`, with TLS: trust `authority`, and show `client`."""
        return f"127.0.0.1:{self.ports[3]}"

    @property
    def authority(self) -> Path:
        """The certificate of who signed those of the broker and of the client."""
        return self.folder / "ca.pem"

    @property
    def client(self) -> Path:
        """Certificate and key of a client."""
        return self.folder / "client.pem"

    def _sign(self) -> None:
        """Make an authority, and the certificates of broker and client."""

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], check=True, cwd=self.folder, stderr=subprocess.DEVNULL)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        openssl("req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
        for name in ("broker", "client"):
            signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
            openssl("req", "-x509", *key, *signed, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", name)
            both = (self.folder / f"{name}.key").read_text() + (self.folder / name).read_text()
            (self.folder / f"{name}.pem").write_text(both)

    def command(self) -> list[str]:
        """The properties are written, and the folder is formatted at the first start."""
        plain, controller, sasl, tls = self.ports
        if not self.authority.exists():
            self._sign()
        login = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
        modules = {
            "plain": f"org.apache.kafka.common.security.plain.PlainLoginModule required {login};",
            "scram-sha-256": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "oauthbearer": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
            'unsecuredLoginStringClaim_sub="broker";',
        }
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAIN://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SASL://127.0.0.1:{sasl},"
            f"TLS://127.0.0.1:{tls}",
            "advertised.listeners": f"PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            "ssl.client.auth": "required",
            "sasl.enabled.mechanisms": ",".join(modules).upper(),
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            "num.network.threads": "2",
            "num.io.threads": "4",
        }
        properties |= {
            f"listener.name.sasl.{mechanism}.sasl.jaas.config": module for mechanism, module in modules.items()
        }
        properties |= dict(flag.split("=", 1) for flag in self.flags)
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        program = str(self.program(self.name))
        if not (self.folder / "data" / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(b"\x00" + secrets.token_bytes(15)).decode().rstrip("=")
            users = [
                f"--add-scram=SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)
            ]  # the users of SCRAM live in the metadata
            tool = [program, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(path), *users]
            subprocess.run(tool, check=True, stdout=subprocess.DEVNULL)
        return [program, str(path)]

    def start(self, seconds: float = 90) -> None:
        """Start it and wait until it is ready."""
        self._said = self.log.stat().st_size if self.log.exists() else 0
        super().start(seconds)

    def ready(self) -> bool:
        """True when it has said so since it was started."""
        return b"Kafka Server started" in self.log.read_bytes()[self._said :]

    async def create(self, topic: str, partitions: int = 1, **config: str) -> None:
        """Make a topic; its settings with `_` for `.`, such as `cleanup_policy="compact"`."""
        from aiokafka.admin import NewTopic

        settings = {name.replace("_", "."): value for name, value in config.items()}
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])

    async def partitions(self, topic: str) -> int:
        """How many there are."""
        async with self._admin() as admin:
            (told,) = await admin.describe_topics([topic])
            return len(told["partitions"])

    async def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""
        from aiokafka.admin import NewPartitions

        async with self._admin() as admin:
            await admin.create_partitions({topic: NewPartitions(partitions)})

    async def remake(self, topic: str) -> None:
        """Delete a topic, and make it anew with one partition as soon as it is gone."""
        async with self._admin() as admin:
            await admin.delete_topics([topic])
            while topic in await admin.list_topics():  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0.05)
        await self.create(topic)

    def token(self, seconds: float = 3600) -> str:
        """An unsigned token (RFC 7515, `alg` none), as the listener takes it."""
        now = time.time()
        parts = ({"alg": "none"}, {"sub": USER, "iat": now, "exp": now + seconds})
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, ""])

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        """The offsets of a group by topic and partition."""
        async with self._admin() as admin:
            told = await admin.list_consumer_group_offsets(group)
            return {(at.topic, at.partition): int(one.offset) for at, one in told.items()}

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Set the offset of a group without members."""
        from aiokafka import AIOKafkaConsumer, TopicPartition

        # Else it commits once more when it is closed, and by then it may be at the end.
        alone = AIOKafkaConsumer(bootstrap_servers=self.address, group_id=group, enable_auto_commit=False)
        async with alone as client:
            client.assign([TopicPartition(topic, partition)])
            await client.commit({TopicPartition(topic, partition): offset})

    async def expire(self, topic: str, partition: int, before: int) -> None:
        """Delete the messages before this offset, as retention does."""
        from aiokafka import TopicPartition
        from aiokafka.admin import RecordsToDelete

        async with self._admin() as admin:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        from aiokafka.admin import AIOKafkaAdminClient

        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def fill(
        self, topic: str, values: Iterable[bytes | None], *, partition: int | None = None, **producer: Any
    ) -> None:
        """Write messages, spread over the partitions unless one is given."""
        messages = ({"value": value, "partition": partition} for value in values)
        await self.write(topic, messages, **producer)

    async def write(self, topic: str, messages: Iterable[Mapping[str, Any]], **producer: Any) -> None:
        """Write messages given as what `AIOKafkaProducer.send` takes beside the topic."""
        from aiokafka import AIOKafkaProducer

        async with AIOKafkaProducer(bootstrap_servers=self.address, **producer) as client:
            sent = [await client.send(topic, **message) for message in messages]
            await client.flush()
            await asyncio.gather(*sent)

    async def read(self, topic: str, *, isolation: str = "read_committed") -> list[Any]:
        """All that is in a topic now, as aiokafka's records, in the order of each partition."""
        from aiokafka import AIOKafkaConsumer, TopicPartition

        async with AIOKafkaConsumer(bootstrap_servers=self.address, isolation_level=isolation) as client:
            partitions = [TopicPartition(topic, number) for number in range(await self.partitions(topic))]
            client.assign(partitions)
            await client.seek_to_beginning(*partitions)
            ends = await client.end_offsets(partitions)
            found: list[Any] = []
            while any([await client.position(one) < end for one, end in ends.items()]):
                for records in (await client.getmany(timeout_ms=100)).values():
                    found += records
            return found
