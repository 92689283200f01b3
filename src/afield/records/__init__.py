"""Records of runs: types, files, migration, locks, names and seeds. Does not import torch."""

from afield.records.decode import decode as decode
from afield.records.files import (
    HeldError as HeldError,
    canonical_json as canonical_json,
    exclusive as exclusive,
    is_json as is_json,
    locked as locked,
    read_json as read_json,
    read_jsonl as read_jsonl,
    write_atomic as write_atomic,
    write_json as write_json,
    write_jsonl as write_jsonl,
    writing as writing,
)
from afield.records.frame import frame as frame
from afield.records.migration import migrate as migrate, renamed as renamed, stored_views as stored_views
from afield.records.naming import run_hash as run_hash, seed_for as seed_for
from afield.records.reading import (
    read_compared as read_compared,
    read_record as read_record,
    read_records as read_records,
    read_summary as read_summary,
    to_record as to_record,
    write_record as write_record,
    write_records as write_records,
    write_summary as write_summary,
)
from afield.records.types import (
    BASELINE as BASELINE,
    Epoch as Epoch,
    Estimate as Estimate,
    Figures as Figures,
    Learned as Learned,
    PlaceDifference as PlaceDifference,
    Record as Record,
    Selection as Selection,
    Summary as Summary,
    SummaryRow as SummaryRow,
)
