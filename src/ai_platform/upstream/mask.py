"""An upstream that repeats our credential in an error must not tell it to the caller. Pure; below the adapters."""

from collections.abc import AsyncIterator

from ai_platform.domain.call import Answer


def without(answer: Answer, secret: bytes) -> Answer:
    """The same answer with `secret` starred out, at equal length, in its fields and in its body."""
    stars = b"*" * len(secret)
    answer.headers = [(name, value.replace(secret, stars)) for name, value in answer.headers]
    answer.body = _starred(answer.body, secret, stars)
    return answer


async def _starred(body: AsyncIterator[bytes], secret: bytes, stars: bytes) -> AsyncIterator[bytes]:
    held = b""
    async for chunk in body:
        text = (held + chunk).replace(secret, stars)
        keep = min(len(text), len(secret) - 1)  # it may be split by the network
        held = text[len(text) - keep :]
        if len(text) > keep:
            yield text[: len(text) - keep]
    if held:
        yield held
