"""What every benchmark does with its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def tell(result: Mapping[str, Any], out: Path | None) -> None:
    """Print a result as JSON, and write it to ``out`` where one is given."""
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
