"""Judging: what the check and a function's own checkers say of a sample, right and with mistakes, and at what cost."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from checks import check_gradients
from experiments.foreign.planting import SMALLEST, is_shown, planted, relative_size
from experiments.foreign.sample import Flat, Gradients, Sample, Tensors, seeded
from experiments.peers import Peer

Outcome: TypeAlias = dict[str, Any]  # of one question to one checker, plain data
COVERAGES = ("full", "directions")
CHECKS_WITHIN = 3  # checks that a mistake may take to be found along random directions


def judged(sample: Sample, seed: int, peers: dict[str, Peer]) -> Iterator[Outcome]:
    """Ask everybody about a sample: its right gradient first, then every mistake that can be planted in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other people's functions warn of is theirs
        labels = {"part": sample.part, "name": sample.name, "exposes": sample.exposes}
        reason = _unfit(sample)
        if reason:
            yield labels | {"what": "apart", "reason": reason}
            return
        answers = list(_right(sample, seed, peers))
        ours = [answer for answer in answers if answer["checker"] == "backproof"]
        if not any(answer["accepted"] for answer in answers) and not sample.exposes:
            reason = sample.refused()  # it takes long, and is of interest only where every checker refuses
        for answer in answers:
            yield labels | answer | {"what": "apart" if reason else "right", "reason": reason}
        if not reason and ours:
            for answer in _wrong(sample, seed, peers):
                yield labels | answer


def _unfit(sample: Sample) -> str:
    """Say why no checker can be asked: the loss is no function, or there is no gradient."""
    try:
        first, again = (float(sample.loss(_copied(sample.point))) for _ in range(2))
        gradient = sample.flat.gradient(sample.flat.point)
    except Exception as error:
        return f"it raises {type(error).__name__}: {' '.join(str(error).split())[:90]}"
    if first != again and not (math.isnan(first) and math.isnan(again)):
        return "not deterministic"
    if not (math.isfinite(first) and np.isfinite(gradient).all()):
        return "loss or gradient is not finite at the point"
    return ""


def _right(sample: Sample, seed: int, peers: dict[str, Peer]) -> Iterator[Outcome]:
    for coverage in COVERAGES:
        yield _ours(sample, sample.gradients, coverage, seed)
    asked: dict[str, Callable[[], bool]] = {name: _bound(peer, sample.flat) for name, peer in peers.items()}
    for name, ask in (asked | dict(sample.native)).items():
        yield _theirs(name, ask)


def _wrong(sample: Sample, seed: int, peers: dict[str, Peer]) -> Iterator[Outcome]:
    right = sample.gradients(_copied(sample.point))
    for mistake, gradients in planted(sample, seeded(seed, sample.name)):
        wrong = gradients(_copied(sample.point))
        size = relative_size(right, wrong)
        if not size > SMALLEST:
            continue
        labels = {"what": "wrong", "mistake": mistake, "size": size, "shown": is_shown(sample, wrong)}
        for coverage in COVERAGES:
            answer = _ours(sample, gradients, coverage, seed)
            for more in range(1, CHECKS_WITHIN if coverage == "directions" else 1):
                if answer["verdict"] == "FAIL":
                    break
                answer = _ours(sample, gradients, coverage, seed + more)
            yield labels | answer
        flat = Flat(sample.loss, gradients, sample.point)
        for name, peer in peers.items():
            yield labels | _theirs(name, _bound(peer, flat))


def _ours(sample: Sample, gradients: Gradients, coverage: str, seed: int) -> Outcome:
    """Check a gradient as a user would; what that raises is a crash."""
    rng = seeded(seed, sample.name)
    started = time.process_time()
    try:
        report = check_gradients(sample.loss, gradients, _copied(sample.point), coverage=coverage, rng=rng)
    except Exception as error:
        said = {"verdict": "CRASH", "cause": f"{type(error).__name__}: {error}", "accepted": False}
        return said | {"checker": "backproof", "coverage": coverage, "seconds": time.process_time() - started}
    seconds = time.process_time() - started
    open_ = [tensor for tensor in report.tensors.values() if tensor.verdict is report.verdict]
    return {
        "checker": "backproof",
        "coverage": coverage,
        "verdict": report.verdict.value,
        "accepted": report.verdict.value == "PASS",
        "cause": report.cause.value,
        "seconds": seconds,
        "evaluations": report.evaluations,
        "difference": float(report.difference),
        "kinks": report.kinks,
        "precision": max(tensor.precision for tensor in report.tensors.values()),
        "evidence": "" if report.verdict.value == "PASS" else "; ".join(f"{t.label}: {t.evidence}" for t in open_[:2]),
    }


def _theirs(name: str, ask: Callable[[], bool]) -> Outcome:
    """Ask somebody else's checker; whatever it raises is a refusal."""
    started = time.process_time()
    try:
        accepted = ask()
    except Exception:
        accepted = False
    return {"checker": name, "accepted": bool(accepted), "seconds": time.process_time() - started}


def _bound(peer: Peer, flat: Flat) -> Callable[[], bool]:
    return lambda: peer(flat)


def _copied(tensors: Tensors) -> Tensors:
    return {name: value.copy() for name, value in tensors.items()}
