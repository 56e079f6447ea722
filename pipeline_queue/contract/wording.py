"""Numbers in sentences: `1 run`, `2,000 runs`, `1.5 GiB`, `15 min`."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 run`, `2,000 runs`; `plural` where that is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def is_are(count: int) -> str:
    """The verb after that many."""
    return "is" if count == 1 else "are"


def was_were(count: int) -> str:
    """The verb after that many, of what is past."""
    return "was" if count == 1 else "were"


def size_text(size_bytes: float) -> str:
    """`312 bytes`, `1.5 KiB`, `28 GiB`: two digits at least, no more than a person reads."""
    if size_bytes < 1024:
        return counted(int(size_bytes), "byte")
    size, unit = size_bytes / 1024, _UNITS[0]
    for larger in _UNITS[1:]:
        if size < 1023.5:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:,.0f} {unit}"


def exact_duration(seconds: float) -> str:
    """`90 s`, `15 min`, `2 h`: the shortest exact form."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def rounded_duration(seconds: float) -> str:
    """`12 s`, `3 min 12 s`, `2 h 5 min`: to the second, and above an hour to the minute."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
