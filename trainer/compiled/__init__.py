"""The same network and Adam, compiled by numba for those who ask for it."""

from trainer.compiled.network import CompiledAdam, CompiledNetwork

__all__ = ["CompiledAdam", "CompiledNetwork"]
