"""Takes the pictures of a running demo: python docs/take_screenshots.py [--url http://127.0.0.1:7860] [--all FOLDER]

Without --all: one of each page at desktop width and one of the first on a telephone, into docs/. With it: each page at
both widths, light and dark, to be looked at.
"""

import argparse
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parent / "ser_hf" / "demo" / "examples"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"desktop": (1440, 1000), "phone": (390, 844)}  # pixels
LIVE_BARS = 16  # half seconds that the live page has listened when its picture is taken


def make_recordings(folder: Path) -> None:
    """meeting.wav, two minutes of the example voices with pauses between them, and notes.txt → `folder`."""
    rng = np.random.default_rng(3)
    voices = [soundfile.read(path, dtype="float32") for path in sorted(EXAMPLES.glob("*.flac"))]
    rate = voices[0][1]
    parts = []
    for _ in range(26):
        parts += [voices[rng.integers(len(voices))][0], np.zeros(int(rate * rng.choice([0.3, 1, 6])), np.float32)]
    soundfile.write(folder / "meeting.wav", np.concatenate(parts), rate)
    (folder / "notes.txt").write_text("This is no sound.")


def analyse(page: Page, folder: Path) -> None:
    page.locator("#examples").get_by_text("excited").click()
    page.locator("#answer .sound svg").wait_for()
    page.locator("#speech").get_by_label("Play", exact=True).wait_for()  # the player draws its waveform last


def compare(page: Page, folder: Path) -> None:
    analyse(page, folder)
    page.locator("#compare input").click()
    page.get_by_role("option").nth(1).click()
    page.locator(".beside svg").nth(1).wait_for()


def timeline(page: Page, folder: Path) -> None:
    page.locator("#recording input[type=file]").set_input_files(folder / "meeting.wav")
    page.locator("#recording").get_by_text("meeting").wait_for()
    page.locator("#timeline_start").click()
    page.locator("#timeline_chart svg").wait_for()
    page.locator("#timeline_table").get_by_role("gridcell").first.wait_for()


def live(page: Page, folder: Path) -> None:
    page.locator("#microphone").get_by_role("button", name="Record").click()
    bars = "[...document.querySelectorAll('#live_chart path[aria-roledescription=bar]')].map(path => path.getBBox().x)"
    page.wait_for_function(f"new Set({bars}).size > {LIVE_BARS}", timeout=300_000)


def batch(page: Page, folder: Path) -> None:
    files = [*sorted(EXAMPLES.glob("*.flac")), folder / "notes.txt"]
    page.locator("#batch_files input[type=file]").set_input_files(files)
    page.locator("#batch_files").get_by_text("notes").wait_for()
    page.locator("#batch_start").click()
    page.locator("#batch_table").get_by_role("gridcell").first.wait_for()


def about(page: Page, folder: Path) -> None:
    page.locator("#card").wait_for()


# file name: (tab, what is done there, the sizes of the pictures in docs/)
PICTURES: dict[str, tuple[str, Callable, tuple[str, ...]]] = {
    "demo": ("Analyse", analyse, ("desktop", "phone")),
    "demo_compare": ("Analyse", compare, ("desktop",)),
    "demo_timeline": ("Timeline", timeline, ("desktop",)),
    "demo_live": ("Live", live, ("desktop",)),
    "demo_batch": ("Batch", batch, ("desktop",)),
    "demo_about": ("About", about, ("desktop",)),
}


def take(page: Page, path: Path) -> None:
    page.mouse.move(0, 0)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, animations="disabled")))
    picture.convert("RGB").save(path, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of a running demo.")
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="where it runs (default %(default)s)")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, width and colour scheme")
    options = parser.parse_args()
    target = options.all or FOLDER
    target.mkdir(parents=True, exist_ok=True)
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        make_recordings(folder)
        microphone = [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={folder / 'meeting.wav'}",
        ]
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", *microphone]
        )
        for name, (tab, prepare, sizes) in PICTURES.items():
            for scheme in ("light", "dark") if options.all else ("light",):
                for size in SIZES if options.all else sizes:
                    width, height = SIZES[size]
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=scheme, permissions=["microphone"]
                    )
                    page = context.new_page()
                    page.goto(options.url)
                    page.locator("#answer .hint").wait_for()
                    if tab != "Analyse":
                        open_tab(page, tab)
                    prepare(page, folder)
                    suffix = f"_{size}_{scheme}" if options.all else "" if size == "desktop" else f"_{size}"
                    take(page, target / f"{name}{suffix}.png")
                    context.close()
        browser.close()


def open_tab(page: Page, name: str) -> None:
    """Where the window is narrow, the last tabs are in a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator("#pages .overflow-menu > button").click()
        tab = page.locator("#pages .overflow-dropdown").get_by_text(name, exact=True)
    tab.click()


if __name__ == "__main__":
    main()
