"""Audit room: everything a regulator recomputes from chain and export."""
