"""The file of a violation: what goes in comes out, and what no check has left is refused field by field."""

import dataclasses

import numpy as np
import pytest

from checks import GradientCheck
from checks.report.findings import Applied
from checks.training.callback import TrainingHaltedByCheck
from checks.training.violation_file import read_violation, write_violation
from experiments.bugs.bugs import plant
from trainer import Network, Trainer
from trainer.storage.archive import ArchiveError, read_archive, write_archive


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Give the file of a run that was halted."""
    rng = np.random.default_rng(0)
    targets = rng.permutation((np.arange(40) < 13).astype(float))
    mistaken, switch = plant(Network((5, 3, 1), dropout=0.3, l2=1e-3), "sign")
    check = GradientCheck(2, rows=7, dropout="frozen", terms=True, violations=tmp_path_factory.mktemp("kept"))
    with pytest.raises(TrainingHaltedByCheck) as caught:
        Trainer(mistaken, callbacks=[switch, check], batch_size=8).fit(rng.standard_normal((40, 5)), targets)
    return caught.value.violation


@pytest.fixture
def forge(kept, tmp_path):
    """Give a function that writes the file with other arrays and facts, and a checksum that is right."""

    def write(arrays=(), facts=(), without=()):
        archive = read_archive(kept, "violation", 1)
        parts = [archive.arrays | dict(arrays), archive.facts | dict(facts)]
        path = tmp_path / "forged.npz"
        write_archive(path, "violation", 1, *({k: v for k, v in part.items() if k not in without} for part in parts))
        return path

    return write


def test_what_goes_in_comes_out_to_the_last_bit(kept, tmp_path):
    case = read_violation(kept)
    write_violation(tmp_path / "again.npz", case)
    assert (tmp_path / "again.npz").read_bytes() == kept.read_bytes()


def test_numpy_reads_its_arrays(kept):
    with np.load(kept, allow_pickle=False) as arrays:
        assert arrays["gradients.W1"].shape == arrays["numerical.W1"].shape == arrays["parameters.W1"].shape == (3, 5)
        assert arrays["inputs"].shape == (7, 5)


def test_any_damage_is_refused(kept, tmp_path):
    content, damaged = kept.read_bytes(), tmp_path / "damaged.npz"
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=100):
        damaged.write_bytes(content[:position])
        with pytest.raises(ArchiveError, match=r"Expected .* Received"):
            read_violation(damaged)
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(flipped)
        with pytest.raises(ArchiveError, match=r"Expected .* Received"):
            read_violation(damaged)


def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path):
    write_archive(tmp_path / "other.npz", "checkpoint", 1, {}, {})
    with pytest.raises(ArchiveError, match=r"Expected violation, version 1\. Received checkpoint, version 1"):
        read_violation(tmp_path / "other.npz")


def test_a_fact_that_is_missing_or_of_the_wrong_kind_is_refused(kept, forge):
    names = set(read_archive(kept, "violation", 1).facts) - {"kind", "version"}
    assert names >= {"iteration", "report", "generator", "network", "settings", "versions", "masks"}
    for name in names:
        refused(name, forge)


def refused(name, forge):
    with pytest.raises(ArchiveError, match=rf"{name} is (missing|broken)\. Expected .*Received (nothing|None)"):
        read_violation(forge(without=[name]))
    with pytest.raises(ArchiveError, match=r"Expected .* Received"):
        read_violation(forge(facts={name: [[3, {}]]}))


@pytest.mark.parametrize(
    "arrays",
    [
        {"index": np.arange(6)},
        {"index": np.arange(7.0)},
        {"index": np.arange(7).astype(np.int8)},
        {"inputs": np.zeros((6, 5))},
        {"inputs": np.zeros(7)},
        {"inputs": np.full((7, 5), np.nan)},
        {"inputs": np.zeros((7, 5), np.float32)},
        {"targets": np.zeros(5)},
        {"targets": np.full(7, 2.0)},
        {"targets": np.full(7, np.nan)},
        {"targets": np.zeros(7, bool)},
        {"gradients.W1": np.zeros((5, 3))},
        {"numerical.b1": np.zeros(4)},
        {"parameters.W1": np.zeros((3, 5), np.int64)},
        {"parameters.W3": np.zeros((3, 5))},
        {"step.begin": np.zeros(21)},
        {"step.now": np.zeros((22, 1))},
        {"step.returned": np.zeros(22, np.float32)},
        {"step.applied": np.zeros(22, np.int64)},
        {"step.inputs": np.zeros((7, 5))},
        {"step.inputs": np.zeros((8, 4))},
        {"step.inputs": np.full((8, 5), np.nan)},
        {"step.targets": np.zeros(7)},
        {"step.targets": np.full(8, 0.5)},
        {"step.gradients": np.zeros(22)},
    ],
    ids=lambda arrays: "-".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()),
)
def test_arrays_that_do_not_belong_together_are_refused(arrays, forge):
    with pytest.raises(ArchiveError, match=r"forged.npz is no violation: .*Expected .* Received"):
        read_violation(forge(arrays))


def test_an_array_that_is_missing_is_refused(forge):
    with pytest.raises(ArchiveError, match=r"Received a difference in numerical\.W2"):
        read_violation(forge(without=["numerical.W2"]))


@pytest.mark.parametrize("name", ["begin", "now", "inputs", "targets", "returned", "applied"])
def test_a_step_is_kept_whole_or_not_at_all(name, kept, forge):
    with pytest.raises(ArchiveError, match=rf"Received a difference in step\.{name}"):
        read_violation(forge(without=[f"step.{name}"]))


def test_the_step_the_masks_and_the_answer_about_them_go_together(kept, forge):
    archive = read_archive(kept, "violation", 1)
    step = [name for name in archive.arrays if name.startswith("step.")]
    report = {name: value for name, value in archive.facts["report"].items() if name != "applied"}
    with pytest.raises(ArchiveError, match=r"masks is broken\. Expected those of a step\. Received "):
        read_violation(forge(without=step))
    facts = {"masks": None, "directions": None}
    with pytest.raises(ArchiveError, match=r"report is broken\. Expected an answer about the step.* Received "):
        read_violation(forge(facts=facts, without=step))
    with pytest.raises(ArchiveError, match=r"report is broken\. Expected an answer about the step.* Received None"):
        read_violation(forge(facts={"report": report}))
    bare = read_violation(forge(facts={"report": report, **facts}, without=step))  # as with applied=False
    assert (bare.step, bare.masks) == ({}, None)


@pytest.mark.parametrize(
    "forged",
    [
        {"bit_generator": "MT19937"},
        {"bit_generator": "PCG64"},
        {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}, "has_uint32": 0, "uinteger": 0},
        {"bit_generator": "PCG64", "state": {"state": 10**400, "inc": 1}, "has_uint32": 0, "uinteger": 0},
    ],
)
@pytest.mark.parametrize("name", ["masks", "directions", "generator"])
def test_the_state_of_no_generator_is_refused(name, forged, forge):
    with pytest.raises(ArchiveError, match=rf"violation\.{name}.* is (broken|missing)\. Expected .* Received"):
        read_violation(forge(facts={name: forged}))


@pytest.mark.parametrize(
    ("field", "forged"),
    [
        ("verdict", "MAYBE"),
        ("cause", "bad luck"),
        ("difference", "small"),
        ("tensor", 3),
        ("dtype", None),
        ("n_rows", -1),
        ("excluded", {"W1": "little"}),
        ("sentence", 7),
        ("evaluations", 0.5),
        ("seconds", []),
    ],
)
def test_a_forged_answer_to_the_second_question_is_refused_by_name(kept, forge, field, forged):
    report = read_archive(kept, "violation", 1).facts["report"]
    assert set(report["applied"]) == {part.name for part in dataclasses.fields(Applied)}
    report["applied"] |= {field: forged}
    with pytest.raises(ArchiveError, match=rf"report\.applied\.{field}.* is broken\. Expected .* Received"):
        read_violation(forge(facts={"report": report}))


def test_the_byte_order_of_another_machine_is_no_matter(kept, forge):
    case = read_violation(kept)
    other = read_violation(forge({"inputs": case.inputs.astype(">f8"), "index": case.index.astype(">i8")}))
    np.testing.assert_array_equal(other.inputs, case.inputs)
    np.testing.assert_array_equal(other.index, case.index)
    assert other.inputs.dtype == np.dtype(np.float64)
    assert other.inputs.dtype.isnative


def test_a_name_that_stands_twice_is_refused(kept, forge):
    names = [*read_violation(kept).parameters]
    with pytest.raises(ArchiveError, match=r"names is broken\. Expected different names"):
        read_violation(forge(facts={"names": [*names, names[0]]}))
