"""Many sentences to tokens: each distinct one once, by all cores where that pays, and kept for the next run.

What a protocol makes of a file's sentences is kept in the user's cache folder, under a name that is the hash
of the sentences, the protocol with its steps, the segmenter's version and this package's own code: change any
of them and the entry is not found. It is JSON with a checksum; a damaged entry is as good as none.
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from eval.metrics import Tokens
from eval.protocols import Protocol, find_protocol

SAMPLE = 500
"""Sentences by which the time of the others is foreseen, once the dictionary is loaded."""
PROCESSES_PAY = 2.0
"""Seconds of work from which on processes are started; each costs half a second or so."""
CACHE_PAYS = 0.1
"""Seconds of work from which on its result is kept; characters are cut faster than they are read."""
CHUNK = 2_000
"""Sentences handed to a process at a time."""


@dataclass(frozen=True)
class SegmentationCache:
    """Sentences that were cut before.

    Nothing here is worth an error: where the folder cannot be used, the sentences are cut again.
    """

    folder: Path
    max_bytes: int = 256 * 2**20
    """Of more, the entries unused for longest go; 100,000 captions take about 6 MB."""

    @classmethod
    def of_user(cls) -> "SegmentationCache":
        """In ``$XDG_CACHE_HOME/tushuo``, by default ``~/.cache/tushuo``."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(home) / "tushuo" / "segmentation")

    def read(self, protocol: Protocol, sentences: Sequence[str]) -> list[Tokens] | None:
        """Tokens of each sentence, or None if they are not known."""
        path = self._entry(protocol, sentences)
        try:
            if not self._is_private():
                return None
            head, _, body = path.read_bytes().partition(b"\n")
            if head != _checksum(body):
                return None
            tokens = json.loads(body)
            os.utime(path)  # the entries unused for longest go first
        except (OSError, ValueError):
            return None
        return [[sys.intern(token) for token in sentence] for sentence in tokens]

    def write(self, protocol: Protocol, sentences: Sequence[str], tokens: Sequence[Tokens]) -> None:
        """Keep the tokens of each sentence; a reader never sees half an entry."""
        body = json.dumps(tokens, ensure_ascii=False, separators=(",", ":")).encode()
        path = self._entry(protocol, sentences)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_private():
                return
            try:
                with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                    stream.write(_checksum(body) + b"\n" + body)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            self._make_room()
        except OSError:
            return  # a full disk or a read-only home costs the next run its time, not this one its scores

    def _entry(self, protocol: Protocol, sentences: Sequence[str]) -> Path:
        decisive = [
            protocol.name,
            protocol.steps,
            protocol.version(),
            unicodedata.unidata_version,
            _code(),
            sentences,
        ]
        text = json.dumps(decisive, ensure_ascii=False)
        return self.folder / f"{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}.json"

    def _is_private(self) -> bool:
        """Whether nobody else could have put something there."""
        status = self.folder.stat()
        return status.st_uid == os.getuid() and not status.st_mode & 0o022

    def _make_room(self) -> None:
        """Remove the entries unused for longest until the others fit, and what a killed process left."""
        found = [(path, path.stat()) for path in self.folder.iterdir()]
        room = self.max_bytes
        for path, status in sorted(found, key=lambda each: each[1].st_mtime_ns, reverse=True):
            room -= status.st_size
            if room < 0 or (path.suffix == ".part" and status.st_mtime < time.time() - 3600):
                path.unlink(missing_ok=True)


def already_cut(
    protocol: Protocol,
    texts: Iterable[Collection[str]],
    *,
    known: SegmentationCache | None = None,
    processes: int = 1,
) -> Protocol:
    """The protocol, under which the given sentences need no more cutting.

    Args:
        protocol: How to cut.
        texts: The sentences of each file; a sentence of several files is cut once.
        known: Where to look first, file by file, and to keep what was found out.
        processes: How many may work at a time. More than one is for programs whose main module can be
            imported again, as `multiprocessing` wants it.

    Returns:
        A protocol of the same name, steps and version that knows these sentences, and cuts no other.

    Raises:
        ChildProcessError: A process was killed from outside.
    """
    tokens: dict[str, Tokens] = {}
    unknown: list[list[str]] = []
    for sentences in (sorted(set(of_file)) for of_file in texts):
        found = known.read(protocol, sentences) if known else None
        if found is None:
            unknown.append(sentences)
        else:
            tokens.update(zip(sentences, found, strict=True))
    started = time.monotonic()
    left = sorted(set().union(*unknown) - tokens.keys())
    tokens.update(zip(left, cut(protocol, left, processes=processes), strict=True))
    if known and time.monotonic() - started >= CACHE_PAYS:
        for sentences in unknown:
            known.write(protocol, sentences, [tokens[sentence] for sentence in sentences])
    return _knowing(protocol, tokens)


def cut(protocol: Protocol, sentences: Sequence[str], *, processes: int = 1) -> Iterator[Tokens]:
    """Tokens of each sentence in order, cut by several processes if that saves time."""
    if not sentences:
        return
    yield protocol.cut(sentences[0])  # loads the dictionary
    started = time.monotonic()
    sample, others = sentences[1:SAMPLE], sentences[SAMPLE:]
    yield from map(protocol.cut, sample)
    foreseen = (time.monotonic() - started) / max(1, len(sample)) * len(others)
    if processes > 1 and foreseen >= PROCESSES_PAY and _found_by_name(protocol):
        yield from _cut_by_processes(protocol, others, processes)
    else:
        yield from map(protocol.cut, others)


def _knowing(protocol: Protocol, tokens: Mapping[str, Tokens]) -> Protocol:
    segmenter = replace(protocol.segmenter, cut=tokens.__getitem__)
    return replace(protocol, segmenter=segmenter, prepare=str, finish=list)


def _cut_by_processes(protocol: Protocol, sentences: Sequence[str], processes: int) -> Iterator[Tokens]:
    from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
    from multiprocessing import get_context

    # A fork has the dictionary already, but copies locks that other threads may hold.
    fork = sys.platform == "linux" and threading.active_count() == 1
    chunks = [sentences[start : start + CHUNK] for start in range(0, len(sentences), CHUNK)]
    with ProcessPoolExecutor(
        min(processes, len(chunks)),
        mp_context=get_context("fork" if fork else "spawn"),
        initializer=_leave_ctrl_c_to_the_parent,
    ) as pool:
        try:
            for tokens in pool.map(_cut_chunk, [_names(protocol)] * len(chunks), chunks):
                yield from ([sys.intern(token) for token in sentence] for sentence in tokens)
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a process that cuts sentences was killed, probably for want of memory; "
                "let one do it all: --processes 1"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _cut_chunk(names: tuple[str, str], sentences: Sequence[str]) -> list[Tokens]:
    return [*map(find_protocol(*names).cut, sentences)]


def _names(protocol: Protocol) -> tuple[str, str]:
    """By which another process finds the protocol, whose functions cannot be sent there."""
    return protocol.name.partition("+")[0], protocol.segmenter.name


def _found_by_name(protocol: Protocol) -> bool:
    try:
        return find_protocol(*_names(protocol)) == protocol
    except ValueError:  # a caller's own, under a name of its own
        return False


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


@cache
def _code() -> str:
    """Of this package: tokens that an older version made are not taken for this one's."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
