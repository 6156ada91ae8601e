"""Verdicts on masks in COCO's ``attributes``: a doubt lasts until somebody changes the outline."""

from __future__ import annotations

import hashlib
import json

from robustvit.data.manifest import MaskRecord

_VERDICT, _REASON, _OUTLINE = "verdict", "reason", "outline"


def note_verdict(record: MaskRecord, segmentation: object) -> dict[str, str | float]:
    """Return the attributes of an annotation: verdict, confidence, reason, and a digest of its outline."""
    return {
        _VERDICT: record.verdict,
        "confidence": round(record.confidence, 4),
        _REASON: record.reason,
        _OUTLINE: digest_json(segmentation),
    }


def doubt_of(entry: dict) -> str:
    """Return why an annotation is doubtful; empty if nothing says so, or if its outline was changed since."""
    attributes = entry.get("attributes")
    if not isinstance(attributes, dict) or attributes.get(_VERDICT) != "doubtful":
        return ""
    if attributes.get(_OUTLINE) != digest_json(entry.get("segmentation")):
        return ""
    reason = attributes.get(_REASON)
    return (
        reason if isinstance(reason, str) and reason.isprintable() and reason else "it was doubtful, and is unchanged"
    )


def digest_json(content: object) -> str:
    """Return a short digest of a JSON value, whatever the order of its names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
