"""What docs/scaling.md promises comes out, on two real workers of dask; `test_pages` runs it, too, as every page."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"


@pytest.mark.filterwarnings("ignore")  # of the cluster's own start and end
def test_what_goes_to_two_workers_comes_back_as_it_would_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    monkeypatch.chdir(tmp_path)
    shared: dict[str, Any] = {"__name__": "__main__"}
    first, *rest = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec(first, shared)
    assert len(shared["client"].scheduler_info()["workers"]) == 2
    for text in rest:
        exec(text, shared)
    report, alone = (shared[name].to_dict() | {"seconds": None} for name in ("report", "alone"))
    assert report == alone
    halted = [len(callbacks) == 2 for callbacks in shared["search"].cv_results_["param_callbacks"]]
    np.testing.assert_array_equal(np.isnan(shared["scores"]), halted)
    assert sum(halted) == 4
    assert "8 fits failed" in shared["halts"]
    assert "changed after backprop" in shared["halts"]
    proof = shared["search"].best_estimator_.callbacks_[0].proof
    assert (proof.passed, proof.applied.failed) == (proof.n_checks, 0)
    assert shared["classifier"].n_iterations_ == 12
    assert shared["trainer"].state.iteration == 24
