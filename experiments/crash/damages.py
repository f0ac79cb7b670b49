"""Damages: what a disk, a crash or a hand can do to the bytes of a file."""

import random

PAGE = 4_096  # bytes: what a disk loses at once


def cut(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Truncate."""
    return good[: rng.randrange(len(good))]


def flip(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Flip one to eight bits."""
    damaged = bytearray(good)
    for _ in range(rng.randint(1, 8)):
        bit = rng.randrange(8 * len(good))
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def zero(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Lose a page, which reads as zeros."""
    start = PAGE * rng.randrange(-(-len(good) // PAGE))
    end = min(start + PAGE, len(good))
    return good[:start] + bytes(end - start) + good[end:]


def repeat(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Write a block twice."""
    start, end = _block(rng, good)
    return good[:end] + good[start:end] + good[end:]


def drop(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Leave a block out."""
    start, end = _block(rng, good)
    return good[:start] + good[end:]


def exchange(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Let two neighbouring blocks change places."""
    start, end = _block(rng, good)
    further = min(2 * end - start, len(good))
    return good[:start] + good[end:further] + good[start:end] + good[further:]


def append(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Go on after the end."""
    return good + rng.choice([b"\0", bytes(PAGE), good[-64:], good, other, rng.randbytes(rng.randint(1, 99))])


def mix(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Overwrite the first part of another file, as a write in place that was cut short would."""
    end = rng.randrange(1, len(good))
    return good[:end] + other[end:]


def overwrite(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Put noise in the place of a block."""
    start, end = _block(rng, good)
    return good[:start] + rng.randbytes(end - start) + good[end:]


def swap(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Put the other file in its place."""
    return other


DAMAGES = (cut, flip, zero, repeat, drop, exchange, append, mix, overwrite, swap)


def _block(rng: random.Random, good: bytes) -> tuple[int, int]:
    start = rng.randrange(len(good))
    return start, min(start + rng.choice([1, 8, 64, 512, PAGE]), len(good))
