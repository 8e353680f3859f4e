"""Scores over HTTP (docs/serve.md). Needs the extra `serve`."""

from __future__ import annotations

from dcnn_fast.serve.app import create_app
from dcnn_fast.serve.settings import Settings

__all__ = ["Settings", "create_app"]
