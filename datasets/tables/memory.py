"""Memory: how much of it there is for a table, asked before the table is read."""

import resource
from collections.abc import Iterator
from pathlib import Path

SHARE = 0.5  # of the free memory that a table may take; the training and everybody else have the rest
UNKNOWN = 2 * 2**30  # bytes taken as free where no system tells, as on macOS
GROUP = Path("/sys/fs/cgroup")  # where Linux keeps a container's limit: version 2, then version 1
GROUP_FILES = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def memory_for_tables() -> int:
    """Return how many bytes a table may take: half of what machine, container and the process's own limit leave."""
    return int(SHARE * min(_free(), default=UNKNOWN))


def refuse_more(needed: float, memory: float, what: str) -> None:
    """Refuse, by a ValueError, a table that needs more memory than it may have."""
    if needed > memory:
        raise ValueError(
            f"{what} too large for the memory here. Expected at most {in_units(memory)}, half of what is "
            f"free unless said otherwise. Received about {in_units(needed)}."
        )


def in_units(n_bytes: float) -> str:
    """Give a number of bytes in the largest unit that leaves at least 1: ``"1.5 GiB"``."""
    size, units = float(n_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.3g} {units[0]}" if size < 1000 else f"{size:,.0f} {units[0]}"


def _free() -> Iterator[int]:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for limit, used in GROUP_FILES:
        numbers = _text(GROUP / limit).strip(), _text(GROUP / used).strip()
        if all(number.isdigit() for number in numbers):  # without a limit it is "max"
            yield max(0, int(numbers[0]) - int(numbers[1]))
    limited = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limited != resource.RLIM_INFINITY:
        pages = _text(Path("/proc/self/statm")).split()
        yield max(0, limited - (int(pages[0]) * resource.getpagesize() if pages else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
