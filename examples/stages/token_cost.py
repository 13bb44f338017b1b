"""Stage `token_cost`: what an LLM call cost, from its model and its tokens."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage


class Price(msgspec.Struct, forbid_unknown_fields=True):
    """US dollars for a million tokens."""

    prompt: float
    completion: float


class TokenCost(Stage):
    """Put `cost_usd` beside each record that has `model`, `prompt_tokens` and `completion_tokens`."""

    prices: dict[str, Price]
    """By model, such as `{ gpt-4o: { prompt: 2.5, completion: 10 } }`. Calls of other models get no cost."""

    def check(self) -> Iterable[tuple[str, str]]:
        """No price is below nothing."""
        for model, price in self.prices.items():
            if min(price.prompt, price.completion) < 0:
                yield f"prices.{model}", "a price cannot be negative: write dollars for a million tokens"

    def reads(self) -> Iterable[str]:
        """What a call says of itself."""
        return ("model", "prompt_tokens", "completion_tokens")

    def writes(self) -> Iterable[str]:
        """The cost."""
        return ("cost_usd",)

    def process(self, batch: Batch) -> Batch:
        """Reckon each call; a record that is none stays as it is."""
        for record in batch.records:
            price = self.prices.get(str(record.fields.get("model")))
            prompt, completion = record.fields.get("prompt_tokens"), record.fields.get("completion_tokens")
            if price and isinstance(prompt, int) and isinstance(completion, int):
                cost = (prompt * price.prompt + completion * price.completion) / 1_000_000
                record.set("cost_usd", round(cost, 9))
        return batch
