"""What runs write and how it is read: typed records, their migration, atomic files, locks, names. Free of torch."""

from afield.records.decode import decode
from afield.records.files import (
    HeldError,
    canonical_json,
    exclusive,
    is_json,
    read_json,
    read_jsonl,
    write_atomic,
    write_json,
    write_jsonl,
    writing,
)
from afield.records.migration import migrate, renamed
from afield.records.naming import run_hash, seed_for
from afield.records.reading import (
    read_record,
    read_records,
    read_summary,
    to_record,
    write_record,
    write_records,
    write_summary,
)
from afield.records.types import (
    SCHEMA,
    Epoch,
    Estimate,
    Figures,
    Learned,
    Record,
    Selection,
    Summary,
    SummaryRow,
)

__all__ = [
    "SCHEMA",
    "Epoch",
    "Estimate",
    "Figures",
    "HeldError",
    "Learned",
    "Record",
    "Selection",
    "Summary",
    "SummaryRow",
    "canonical_json",
    "decode",
    "exclusive",
    "is_json",
    "migrate",
    "read_json",
    "read_jsonl",
    "read_record",
    "read_records",
    "read_summary",
    "renamed",
    "run_hash",
    "seed_for",
    "to_record",
    "write_atomic",
    "write_json",
    "write_jsonl",
    "write_record",
    "write_records",
    "write_summary",
    "writing",
]
