"""Results kept as files, one for each model, set and protocol, and the results that others reported."""

from __future__ import annotations

from robustvit.records.described import METHODS, describe_model, weights_hash
from robustvit.records.record import Record, check_record_place, read_record, read_records, record_path, write_record
from robustvit.records.reported import REPORTED, Column, ReportedChange, ReportedRow, ReportedTable, reported_table

__all__ = [
    "METHODS",
    "REPORTED",
    "Column",
    "Record",
    "ReportedChange",
    "ReportedRow",
    "ReportedTable",
    "check_record_place",
    "describe_model",
    "read_record",
    "read_records",
    "record_path",
    "reported_table",
    "weights_hash",
    "write_record",
]
