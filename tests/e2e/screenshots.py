"""Screenshots of every view, in both languages, light and dark, of a browser that is running on the samples.

    python -m tests.e2e.screenshots --address http://127.0.0.1:8501/ --out docs/img

Each is one picture of four: Chinese and English side by side, light above dark. Only pictures of
``examples/images`` may be in what is committed.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.e2e.browsing import chromium, fresh_page, settled

PICTURE = "picture=000000303818.jpg"
UPLOAD = "examples/images/000000165518.jpg"
SHOTS = {
    "gallery": "",
    "picture": f"{PICTURE}&word=0",
    "compare": "view=compare",
    "vote": f"view=compare&{PICTURE}",
    "errors": "view=errors&fault=undetected",
    "statistics": "view=statistics",
    "try": "view=try",
    "runs": "view=runs",
}
SIZE = (1280, 860)
HALF = (640, 430)
QUALITY = 70


def shoot(browser: Any, address: str, query: str, language: str, scheme: str) -> Image.Image:
    """One screen."""
    size = {"width": SIZE[0], "height": SIZE[1]}
    with fresh_page(browser, address, viewport=size, color_scheme=scheme) as page:
        page.goto(f"{address}?{query}&lang={language}")
        settled(page)
        if "view=try" in query:
            page.locator("input[type=file]").set_input_files(UPLOAD)
            page.wait_for_selector(".ts-figure svg rect")
            settled(page)
        page.wait_for_timeout(1500)  # charts are drawn, and what fades has faded
        return Image.open(BytesIO(page.screenshot())).convert("RGB")


def main() -> None:
    """Shoot all, or those named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", default="http://127.0.0.1:8501/")
    parser.add_argument("--only", nargs="+", choices=sorted(SHOTS), default=list(SHOTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--whole", type=Path, help="folder for the screens in full size, to be looked at")
    arguments = parser.parse_args()
    with chromium() as browser:
        for name in arguments.only:
            sheet = Image.new("RGB", (2 * HALF[0], 2 * HALF[1]))
            for row, scheme in enumerate(("light", "dark")):
                for column, language in enumerate(("zh", "en")):
                    seen = shoot(browser, arguments.address, SHOTS[name], language, scheme)
                    small = seen.resize(HALF, Image.Resampling.LANCZOS)
                    sheet.paste(small, (column * HALF[0], row * HALF[1]))
                    if arguments.whole:
                        seen.save(arguments.whole / f"{name}-{language}-{scheme}.png")
            sheet.save(arguments.out / f"browser-{name}.jpg", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
