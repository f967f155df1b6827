"""A headless Chromium, driven over its DevTools pipe with the standard library alone.

The browser reads commands on file descriptor 3 and answers on 4, JSON with a zero byte behind each
(``--remote-debugging-pipe``): no port, no WebSocket. ``python -m tests.browser PAGE OUT`` takes the
pictures that a change of the page is looked at with.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "chromium-headless-shell",
)
"""What a Chromium is called by those who package it."""
SECONDS = 60
_AS_3_AND_4 = (
    "import os, sys\nos.dup2(int(sys.argv[1]), 3)\nos.dup2(int(sys.argv[2]), 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)


def find_browser() -> str | None:
    """The path of a Chromium on PATH, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in one headless browser. ``errors``: what its console complained of."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._number, self._buffer, self.errors = 0, b"", []
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # Above 4, or one dup2 could close what the other still needs.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]
        switches = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
        quiet = ("--no-first-run", "--disable-background-networking", "--disable-extensions")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-S", "-c", _AS_3_AND_4, *map(str, ends), find_browser()),
                *(*switches, *quiet, "--remote-debugging-pipe"),
                f"--user-data-dir={self._profile.name}",
                "about:blank",
            ],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_read, to_write, *ends):
            os.close(end)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()

    def call(self, method: str, **parameters: object) -> dict:
        """One DevTools command and its result; events that come before it are kept or dropped."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, page: Path) -> None:
        """Loads a file and waits until it is whole."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        ends = time.monotonic() + SECONDS
        while self.run("document.readyState") != "complete" or self.run("location.href") == (
            "about:blank"
        ):
            assert time.monotonic() < ends, f"{page} does not load"
            time.sleep(0.05)

    def run(self, script: str) -> object:
        """The value of a JavaScript expression; of a promise, what it comes to."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """One key, down and up."""
        text = {" ": " ", "Enter": "\r"}.get(key)
        code = {" ": "Space"}.get(key, key)
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, **more)

    def click(self, selector: str, across: float = 0.5) -> None:
        """The left button on the first element that ``selector`` names, at ``across`` (0..1) of
        its width.
        """
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        x, y, width, height = self.run(
            f"(({{x, y, width, height}}) => [x, y, width, height])"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        point = {"x": x + across * width, "y": y + height / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **point)

    def resize(self, width: int, height: int = 900) -> None:
        """The window in CSS pixels; a phone's viewport below 700."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 700,
        )

    def prefer(self, media: str = "", dark: bool = False) -> None:
        """The medium ("print", "" for the screen's) and the colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def picture(self, path: Path, whole: bool = False) -> None:
        """A screenshot as PNG: of the window, or of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(data["data"]))

    def print(self, path: Path) -> None:
        """The page as PDF, as Ctrl+P makes it."""
        data = self.call("Page.printToPDF", printBackground=True)
        path.write_bytes(base64.b64decode(data["data"]))

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], SECONDS)
            assert ready, "the browser does not answer"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        answer = json.loads(line)
        method, about = answer.get("method"), answer.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(about["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.errors.append(about)
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(about["entry"])
        return answer


def main() -> None:
    """Pictures of a page at 1280 and 390 pixels, light and dark, with a map opened, and printed."""
    page, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for dark in (False, True):
            browser.prefer(dark=dark)
            for width in (1280, 390):
                browser.resize(width)
                browser.open(page)
                name = f"{width}{'-dark' if dark else ''}"
                browser.picture(out / f"{name}.png", whole=True)
                if browser.run("document.querySelectorAll('.cell').length"):
                    browser.click(".cell")
                    browser.picture(out / f"{name}-open.png")
                overflow = browser.run("document.documentElement.scrollWidth - innerWidth")
                print(name, "pixels too wide:", overflow)
        browser.resize(1280)
        browser.prefer()
        browser.open(page)
        browser.print(out / "print.pdf")
        print("errors:", browser.errors)


if __name__ == "__main__":
    main()
