"""The log texts that are shipped: four mixes, the same bytes for the same seed, a secret in about 1 % of the events."""

from __future__ import annotations

import json
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

LEVELS = ["DEBUG"] * 15 + ["INFO"] * 70 + ["WARNING"] * 10 + ["ERROR"] * 5
LOGGERS = [
    "app.api.sessions",
    "app.worker.pipeline",
    "app.llm.client",
    "app.store.redis",
    "app.http.access",
    "app.auth.tokens",
    "app.jobs.scheduler",
    "app.billing.usage",
]
STAGES = ["ingest", "plan", "retrieve", "generate", "review", "deliver"]
MESSAGES = [
    "request completed",
    "cache miss, loading from store",
    "stage finished",
    "retrying after upstream timeout",
    "session resumed",
    "tool call dispatched",
    "queue depth sampled",
    "token budget updated",
    "webhook delivered",
    "slow query",
    "user message received",
    "connection pool exhausted, waiting",
    "r\u00e9sum\u00e9 parsed \u2713",
    'model said "stop" at the end',
    "path C:\\temp\\in.txt read",
]
WORDS = (  # noqa: SIM905  # reads better than a list of 60 strings
    "the model answers with a plan that lists each step and then calls the tool which reads "
    "the file and returns its content so the agent can decide what to change next because the "
    "test still fails when the parser meets an empty line or a very long record from another "
    "service whose clock is behind by several seconds and nobody noticed before release"
).split()
UPPER_AND_DIGITS = string.ascii_uppercase + string.digits
LETTERS_AND_DIGITS = string.ascii_letters + string.digits
SECRET_SHARE = 0.01
TRACEBACK_SHARE = 0.02


class Event(NamedTuple):
    """One event with its line breaks, and how many lines it is."""

    text: str
    lines: int


class Author:
    """The dice that every choice in a corpus is made with, and a count of the secrets planted, by kind."""

    def __init__(self, mix: str, seed: int) -> None:
        self.dice = random.Random(f"{mix}/{seed}")
        self.secrets: Counter[str] = Counter()

    def message(self) -> str:
        """What a program says; one in a hundred gives a secret away."""
        message = self.dice.choice(MESSAGES)
        if self.dice.random() < 0.5:
            message += f" key={self.dice.getrandbits(24):06x}"
        return self.perhaps_leak(message)

    def perhaps_leak(self, text: str) -> str:
        """The text, one in a hundred with a secret."""
        return self.leak(text) if self.dice.random() < SECRET_SHARE else text

    def leak(self, text: str) -> str:
        """The text with a secret between two words."""
        kind, secret = self.secret()
        self.secrets[kind] += 1
        words = text.split(" ")
        words.insert(self.dice.randrange(len(words) + 1), secret)
        return " ".join(words)

    def secret(self) -> tuple[str, str]:
        """A secret's kind, and the secret: AWS key, bearer token, e-mail address or card number."""
        dice = self.dice
        match dice.randrange(4):
            case 0:
                return "aws", "AKIA" + "".join(dice.choices(UPPER_AND_DIGITS, k=16))
            case 1:
                payload = "".join(dice.choices(LETTERS_AND_DIGITS, k=40))
                signature = "".join(dice.choices(LETTERS_AND_DIGITS + "_-", k=30))
                return "bearer", f"Bearer eyJhbGciOiJIUzI1NiJ9.{payload}.{signature}"
            case 2:
                return "email", "".join(dice.choices(string.ascii_lowercase, k=6)) + ".leak@corp.example"
        third, fourth = f"{dice.randrange(10000):04d}", f"{dice.randrange(10000):04d}"
        return "card", f"4539-1488-{third}-{fourth}" if dice.random() < 0.5 else f"45391488{third}{fourth}"


class Moment(NamedTuple):
    """A time of an event, in November 2026."""

    day: int
    hour: int
    minute: int
    second: int
    microsecond: int

    def rfc3339(self) -> str:
        """As structlog writes it."""
        return f"2026-11-{self.day:02d}T{self.hour:02d}:{self.minute:02d}:{self.second:02d}.{self.microsecond:06d}Z"

    def asctime(self) -> str:
        """As Python's logging writes it."""
        milliseconds = self.microsecond // 1000
        return f"2026-11-{self.day:02d} {self.hour:02d}:{self.minute:02d}:{self.second:02d},{milliseconds:03d}"


class Clock:
    """Goes on by 0.2 to 4 ms from event to event."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._now = 0  # microseconds

    def tick(self) -> Moment:
        """The time of the next event."""
        self._now += self._dice.randrange(200, 4000)
        seconds, microsecond = divmod(self._now, 1_000_000)
        hours, seconds = divmod(seconds, 3600)
        return Moment(hours // 24 + 1, hours % 24, seconds // 60, seconds % 60, microsecond)


def json_events(author: Author) -> Iterator[Event]:
    """As structlog writes them, about 300 bytes a line."""
    dice, clock = author.dice, Clock(author.dice)
    while True:
        now = clock.tick()
        yield Event(
            f'{{"timestamp": "{now.rfc3339()}", "level": "{dice.choice(LEVELS).lower()}", '
            f'"logger": "{dice.choice(LOGGERS)}", "message": {json.dumps(author.message())}, '
            f'"session_key": "sess-{dice.getrandbits(16):08x}", '
            f'"thread_ts": "17{dice.randrange(10**8):08d}.{now.microsecond:06d}", "stage": "{dice.choice(STAGES)}", '
            f'"trace_id": "{dice.getrandbits(128):032x}", "duration_ms": {dice.expovariate(1 / 80):.3f}}}\n',
            1,
        )


def plain_events(author: Author) -> Iterator[Event]:
    """As Python's logging writes them, about 140 bytes a line."""
    dice, clock = author.dice, Clock(author.dice)
    while True:
        level, message = dice.choice(LEVELS), author.message()
        yield Event(
            f"{_plain_head(dice, clock, level)}{message} session=sess-{dice.getrandbits(16):08x} "
            f"stage={dice.choice(STAGES)} status={dice.choice((200, 200, 200, 404, 500))} "
            f"duration_ms={dice.expovariate(1 / 80):.1f}\n",
            1,
        )


def traceback_events(author: Author) -> Iterator[Event]:
    """The plain ones, with a traceback of 20 lines behind 2 % of them."""
    dice, clock = author.dice, Clock(author.dice)
    plain = plain_events(author)
    while True:
        if dice.random() >= TRACEBACK_SHARE:
            yield next(plain)
            continue
        job = dice.getrandbits(24)
        lines = [
            f"{_plain_head(dice, clock, 'ERROR')}unhandled exception in job {job:06x}",
            "Traceback (most recent call last):",
        ]
        for step in range(9):
            path = dice.choice(LOGGERS).replace(".", "/")
            lines.append(f'  File "/srv/app/{path}.py", line {dice.randrange(900)}, in step_{step}')
            lines.append(f"    result = await self._call({dice.choice(WORDS)}, timeout={dice.randrange(60)})")
        lines.append(author.perhaps_leak(f"ValueError: bad record at offset {dice.getrandbits(20)}"))
        yield Event("\n".join(lines) + "\n", len(lines))


def llm_events(author: Author) -> Iterator[Event]:
    """JSON with 4 to 16 KB of prompt and response in each line."""
    dice, clock = author.dice, Clock(author.dice)
    paragraphs = [_paragraph(dice) for _ in range(400)]
    while True:
        wanted = dice.randrange(4000, 16000)
        text: list[str] = []
        size = 0
        while size < wanted:
            text.append(dice.choice(paragraphs))
            size += len(text[-1]) + 2
        if dice.random() < SECRET_SHARE:
            place = dice.randrange(len(text))
            text[place] = author.leak(text[place])
        prompt = max(1, len(text) // 3)
        now = clock.tick()
        fields = {
            "timestamp": now.rfc3339(),
            "level": dice.choice(LEVELS).lower(),
            "logger": "app.llm.client",
            "message": "completion finished",
            "session_key": f"sess-{dice.getrandbits(16):08x}",
            "thread_ts": f"17{dice.randrange(10**8):08d}.{now.microsecond:06d}",
            "stage": "generate",
            "model": "model-x",
            "trace_id": f"{dice.getrandbits(128):032x}",
            "duration_ms": round(dice.expovariate(1 / 4000), 1),
            "prompt_tokens": wanted // 6,
            "completion_tokens": wanted // 12,
            "prompt": "\n\n".join(text[:prompt]),
            "response": "\n\n".join(text[prompt:]),
        }
        yield Event(json.dumps(fields) + "\n", 1)


def _plain_head(dice: random.Random, clock: Clock, level: str) -> str:
    return f"{clock.tick().asctime()} {level} {dice.choice(LOGGERS)}: "


def _paragraph(dice: random.Random) -> str:
    paragraph = " ".join(dice.choices(WORDS, k=dice.randrange(30, 120)))
    if dice.random() < 0.2:
        paragraph += ' \u2014 "quoted", caf\u00e9'
    if dice.random() < 0.2:
        paragraph = f'```python\nfor x in data:\n    print(f"{{x}}")\n```\n{paragraph}'
    return paragraph


MIXES: dict[str, Callable[[Author], Iterator[Event]]] = {
    "json": json_events,
    "plain": plain_events,
    "traceback": traceback_events,
    "llm": llm_events,
}
