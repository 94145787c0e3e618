"""Takes demo.png and demo_phone.png of a running demo: python docs/take_screenshots.py [http://127.0.0.1:7860]"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"demo.png": (1440, 1000), "demo_phone.png": (390, 844)}  # pixels


def main(url: str = "http://127.0.0.1:7860") -> None:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            page.goto(url)
            page.locator("#examples").get_by_text("excited").click()
            page.locator("#sound svg").wait_for()
            page.locator("#speech").get_by_label("Play", exact=True).wait_for()  # the player draws its waveform last
            page.mouse.move(0, 0)
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True, animations="disabled")))
            # 256 colours are a third of the size; this method keeps the rare ones, which are the bars.
            picture = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
            picture.save(FOLDER / name, optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
