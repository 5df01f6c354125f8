"""Pages opened in headless Chromium, and asked what they show."""

import json
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_RESULT = '<pre id="result">'

#: A page that holds another one in a frame of any width (windows cannot be as narrow as a phone) and looks into it.
_HARNESS = """<!doctype html><body style="margin:0">
<iframe width="{width}" height="700" srcdoc="{page}"></iframe>
<script>
document.querySelector("iframe").addEventListener("load", async event => {{
  const window = event.target.contentWindow, document = window.document, errors = [];
  window.addEventListener("error", error => errors.push(error.message));
  const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
  const found = {{}};
  try {{ {script} }} catch (error) {{ errors.push(String(error)); }}
  const result = self.document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({{...found, errors}});
  self.document.body.append(result);
}});
</script>"""


def ask(page: Path, script: str, folder: Path, *, width_px: int = 1100) -> dict[str, Any]:
    """Opens a page, runs a script in it, and returns what the script put into `found`; `errors` are the page's.

    The script sees `window` and `document` of the page, and `wait(milliseconds)`, which takes no real time.
    """
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser is installed; looked for {', '.join(_NAMES)}")
    harness = folder / "harness.html"
    text = page.read_text(encoding="utf-8")
    harness.write_text(_HARNESS.format(width=width_px, page=escape(text), script=script), encoding="utf-8")
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        "--window-size=1200,800",
    ]
    done = subprocess.run(
        [program, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", harness.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert _RESULT in done.stdout, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(unescape(done.stdout.partition(_RESULT)[2].partition("</pre>")[0]))
    return found
