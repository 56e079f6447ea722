"""Rows as text."""

from __future__ import annotations

from tests.faults.scenario import Row

_COLUMNS = (
    ("scenario", 16), ("product", 14), ("size", 9), ("lost", 4), ("wrong", 5), ("twice", 5), ("extra", 6),
    ("recovery", 9), ("standstill", 10), ("seconds", 8), ("verdict", 7),
)  # fmt: skip


def heading() -> str:
    return "  ".join(name.ljust(width) for name, width in _COLUMNS)


def line(row: Row) -> str:
    if row.verdict == "skipped":
        return f"{row.name.ljust(_COLUMNS[0][1])}  skipped: {row.reasons[0]}"
    cells = (
        row.name, row.product, row.size, str(row.lost), str(row.wrong), str(row.twice), str(row.extra),
        f"{row.recovery_seconds:.1f} s", f"{row.standstill_seconds:.1f} s", f"{row.seconds:.1f} s", row.verdict,
    )  # fmt: skip
    return "  ".join(cell.ljust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True))


def told(row: Row) -> str:
    """What the row's figures do not say: why, what was done, and how to do it again."""
    if row.verdict == "skipped":
        return ""
    parts = [f"\n{row.name} (--seed {row.seed}): {row.verdict}"]
    parts += [f"  ! {reason}" for reason in row.reasons]
    parts += [f"  - {note}" for note in row.notes]
    parts += [f"  {fault}" for fault in row.faults]
    return "\n".join(parts)
