"""What can be run: the main job, the classic exercise, and the campaigns that measure the check.

PYTEST_DONT_REWRITE: nothing in it asserts, and pytest would warn where it was imported before.
"""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path


def _refuse_another_datasets() -> None:
    """Refuse Hugging Face's package of the name `datasets`, or whose it may be, where it is found before ours."""
    spec = find_spec("datasets")
    if spec is None or spec.origin is None:
        return
    with suppress(OSError):
        if "make_fraud" not in Path(spec.origin).read_text(encoding="utf-8", errors="replace"):
            raise ImportError(
                f"the package `datasets` that Python finds is not backproof's but another, such as Hugging Face's, in "
                f"{Path(spec.origin).parent}: go on in an environment without it, or put the folder that holds "
                "backproof's packages first on PYTHONPATH",
                name=__name__,  # so that `python -m` says it in one line
            )


_refuse_another_datasets()
