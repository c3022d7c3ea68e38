"""``python -m app``: start the caption browser on this machine.

Everything is opened before the server starts, so that a wrong file is one message and exit code 1.
"""

import errno
import socket
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from app.settings import MAX_UPLOAD_MB, AppConfig, parse, with_samples

ADDRESS = "127.0.0.1"


def main(argv: list[str] | None = None) -> int:
    """The command; serves until it is stopped. 1: something cannot be opened, 2: usage."""
    arguments = sys.argv[1:] if argv is None else argv
    config = parse(arguments)
    if find_spec("streamlit") is None:
        print("app: streamlit is not installed; pip install 'tushuo[app]'", file=sys.stderr)
        return 1
    try:
        config = with_samples(config)
        check_port(config)
        from app.data import open_collection

        open_collection(config)
    except (OSError, ValueError) as error:
        print(f"app: {error}", file=sys.stderr)
        return 1
    return serve(arguments, config)


def check_port(config: AppConfig) -> None:
    """Prove that the port is free.

    Raises:
        OSError: Another program listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, config.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise OSError(f"port {config.port} is taken; give another: --port {config.port + 1}") from error


def serve(arguments: list[str], config: AppConfig) -> int:
    """Run Streamlit in this process; the page parses the same arguments again."""
    from streamlit.web import cli

    threading.Thread(target=warm_up, args=(config,), daemon=True).start()
    page = Path(__file__).with_name("browser.py")
    flags = [f"--{name}={value}" for name, value in streamlit_settings(config.port).items()]
    cli.main(["run", str(page), *flags, "--", *arguments], standalone_mode=False)
    return 0


def warm_up(config: AppConfig) -> None:
    """Load what the first reader would wait for: views, dictionary, search, thumbnails of the first page."""
    from app import browser, choice, words
    from app.address import SIZES
    from app.data import open_collection
    from app.thumbnails import thumbnail

    assert browser.PAGES  # noqa: S101  (imported for what that takes)
    choice.warm_up()
    collection = open_collection(config)
    for row in range(min(SIZES[0], len(collection.index))):
        with suppress(ValueError):  # the page says why
            thumbnail(collection, collection.index.image_id(row))
    words.words_of("图说")


def streamlit_settings(port: int) -> dict[str, str]:
    """This machine only, small uploads, nothing sent home, no file served, no source shown on errors."""
    return {
        "server.address": ADDRESS,
        "server.port": str(port),
        "server.maxUploadSize": str(MAX_UPLOAD_MB),
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.enableStaticServing": "false",
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "browser.serverAddress": ADDRESS,
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        # Streamlit's own red would look like an error beside the colours of scores.
        "theme.light.primaryColor": "#0b5cd5",
        "theme.dark.primaryColor": "#3d78df",
    }


if __name__ == "__main__":
    sys.exit(main())
