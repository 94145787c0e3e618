"""The page as people meet it: in a real browser, with a tiny random model behind it."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import pytest
import soundfile
from gradio.route_utils import delete_files_created_by_app

from ser_hf import EmotionClassifier
from ser_hf.audio import SAMPLING_RATE
from ser_hf.demo.page import build_demo, launch_demo
from ser_hf.labels import EMOTIONS

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OURS = {"127.0.0.1", "localhost"}
WAIT = 20_000  # milliseconds, for whatever the page shall show


@pytest.fixture
def demo(tiny_model) -> gr.Blocks:
    """A page with a tiny random model."""
    return build_demo(EmotionClassifier(*tiny_model("whisper"), name="tiny/random", device="cpu"))


@pytest.fixture
def url(demo):
    """The address of the page, on a free port."""
    yield launch_demo(demo, "127.0.0.1", None)
    demo.close(verbose=False)


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url):
    """The opened page; at the end of the test, no request may have left for another host."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(WAIT)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or "localhost"))
    page.goto(url)
    page.locator("#answer .hint").wait_for()
    yield page
    page.close()
    assert hosts <= OURS


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "notes.wav"
    path.write_text("This is no sound.")
    return path


def upload(page, path: Path) -> None:
    page.locator("#speech input[type=file]").set_input_files(path)


def upload_other(page, path: Path) -> None:
    """Through the button that takes any file, also while the player is filled."""
    with page.expect_file_chooser() as chooser:
        page.locator("#other").click()
    chooser.value.set_files(path)


def overflow(page) -> int:
    """Pixels by which the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_an_uploaded_file_is_answered_on_the_page(page, speech_file):
    assert not page.locator("#probabilities").is_visible()
    upload(page, speech_file)
    page.locator("#answer strong").wait_for()
    assert page.locator("#answer strong").text_content() in EMOTIONS
    assert page.locator("#answer .score").text_content().endswith("%")
    assert page.locator("#probabilities th").all_text_contents() == list(EMOTIONS)
    page.locator("#sound svg").wait_for()


def test_a_bad_file_is_explained_on_the_page_and_the_old_answer_goes(page, speech_file, text_file):
    upload(page, speech_file)
    page.locator("#sound svg").wait_for()
    upload_other(page, text_file)
    problem = page.get_by_role("alert").filter(has_text="notes.wav")
    problem.wait_for()
    assert "cannot be read as audio" in problem.text_content()
    assert "Traceback" not in page.content()
    assert page.locator("#answer strong").count() == 0
    page.locator("#probabilities").wait_for(state="hidden")
    page.locator("#sound").wait_for(state="hidden")


def test_taking_the_clip_away_brings_the_hint_back(page, speech_file):
    upload(page, speech_file)
    page.locator("#sound svg").wait_for()
    page.locator("#speech").get_by_label("Clear").click()
    page.locator("#answer .hint").wait_for()
    page.locator("#probabilities").wait_for(state="hidden")


def test_an_example_is_answered(page):
    page.locator("#examples").get_by_text("flat").click()
    page.locator("#answer strong").wait_for()
    page.locator("#sound svg").wait_for()


def test_cleaning_up_takes_the_uploads_and_leaves_the_examples(page, demo, speech_file):
    upload(page, speech_file)
    page.locator("#sound svg").wait_for()
    kept = {Path(file) for files in demo.temp_file_sets for file in files if Path(file).suffix == speech_file.suffix}
    assert any(file.exists() for file in kept)
    delete_files_created_by_app(demo, age=None)  # what Gradio does on schedule, for files of any age
    assert not any(file.exists() for file in kept)
    page.locator("#speech").get_by_label("Clear").click()
    page.locator("#answer .hint").wait_for()
    page.locator("#examples").get_by_text("flat").click()
    page.locator("#sound svg").wait_for()


def test_a_file_that_the_browser_calls_a_video_is_answered(page, speech, tmp_path):
    path = tmp_path / "speech.webm"  # the name makes it video/webm; the content is what counts
    soundfile.write(path, speech, SAMPLING_RATE, format="FLAC")
    upload_other(page, path)
    page.locator("#answer strong").wait_for()


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(page, speech_file, text_file, width):
    page.set_viewport_size({"width": width, "height": 844})
    assert overflow(page) <= 0
    upload(page, speech_file)
    page.locator("#sound svg").wait_for()
    assert overflow(page) <= 0
    page.locator("#speech").get_by_label("Clear").click()
    page.locator("#answer .hint").wait_for()
    upload(page, text_file)
    page.get_by_role("alert").filter(has_text="notes.wav").wait_for()
    assert overflow(page) <= 0
