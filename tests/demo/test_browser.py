"""The pages as people meet them: in a real browser, with a tiny random model behind them."""

import csv
import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import numpy as np
import pytest
import soundfile
from gradio.route_utils import delete_files_created_by_app
from sounds import FORMATS, write_sound

from conftest import tiny_encoder_config
from ser_hf import EmotionClassifier
from ser_hf.audio import SAMPLING_RATE
from ser_hf.demo.checkpoints import Checkpoints
from ser_hf.demo.page import build_demo, launch_demo
from ser_hf.labels import EMOTIONS
from ser_hf.modeling import SerConfig, SerFeatureExtractor, SerForAudioClassification

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
OURS = {"127.0.0.1", "localhost"}
WAIT = 60_000  # milliseconds, for whatever the page shall show
# JavaScript: how many bars a chart has; a bar is a stack of paths.
BARS = (
    "new Set([...document.querySelectorAll('#%s path[aria-roledescription=bar]')].map(path => path.getBBox().x)).size"
)
PAGES = ("Analyse", "Timeline", "Live", "Batch", "About")
MAX_UPLOAD_MB = 20
MAX_SECONDS = 900.0


@pytest.fixture(scope="module")
def classifier() -> EmotionClassifier:
    """A tiny random model."""
    import torch

    torch.manual_seed(0)
    config = SerConfig(encoder_config=tiny_encoder_config("whisper"), id2label=dict(enumerate(EMOTIONS)))
    model = SerForAudioClassification(config)
    return EmotionClassifier(model, SerFeatureExtractor(feature_type="log_mel"), name="tiny/random", device="cpu")


@pytest.fixture(scope="module")
def demo(classifier) -> gr.Blocks:
    return build_demo(Checkpoints(classifier, any_name=True), MAX_SECONDS)


@pytest.fixture(scope="module")
def url(demo):
    """The address of the pages, on a free port."""
    yield launch_demo(demo, "127.0.0.1", None, max_upload_mb=MAX_UPLOAD_MB)
    demo.close(verbose=False)


@pytest.fixture(scope="module")
def browser(speech_file):
    """A browser whose microphone hears `speech_file` over and over."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={speech_file}"]
        browser = playwright.chromium.launch(executable_path=program, args=flags)
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


@pytest.fixture(scope="module")
def meeting(speech, tmp_path_factory) -> Path:
    """Somebody speaks, is silent for 8 s, and speaks again."""
    path = tmp_path_factory.mktemp("meeting") / "meeting.flac"
    pause = np.zeros(8 * SAMPLING_RATE, np.float32)
    soundfile.write(path, np.concatenate([speech, speech, pause, speech, speech]), SAMPLING_RATE)
    return path


@pytest.fixture(scope="module")
def text_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "notes.txt"
    path.write_text("This is no sound.")
    return path


def open_page(page, name: str) -> None:
    """Where the window is narrow, the last pages are in a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator("#pages .overflow-menu > button").click()
        tab = page.locator("#pages .overflow-dropdown").get_by_text(name, exact=True)
    tab.click()


def upload(page, path: Path, box: str = "upload") -> None:
    page.locator(f"#{box} input[type=file]").set_input_files(path)


def clear(page) -> None:
    page.locator("#speech").get_by_label("Clear").click()
    page.locator("#answer .hint").wait_for()


def choose_recording(page, path: Path) -> None:
    open_page(page, "Timeline")
    upload(page, path, "recording")
    page.locator("#recording").get_by_text(path.stem).wait_for()


def cells(page, table: str) -> list[list[str]]:
    """The rows of a table that are in view."""
    page.locator(f"#{table}").get_by_role("gridcell").first.wait_for()
    rows = page.locator(f"#{table} [role=row]:has([role=gridcell])").all()
    return [[cell.inner_text().strip() for cell in row.get_by_role("gridcell").all()] for row in rows]


def download(page, button: str) -> str:
    """What one gets who clicks a download button, as text."""
    with page.expect_download() as waiting:
        page.locator(f"#{button}").click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def bars(page, chart: str) -> int:
    return page.evaluate(BARS % chart)


def overflow(page) -> int:
    """Pixels by which the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_six_formats_are_answered(page, speech, tmp_path):
    assert len(FORMATS) == 6
    for suffix in FORMATS:
        upload(page, write_sound(speech, tmp_path / f"clip.{suffix}"))
        page.locator("#answer strong").wait_for()
        assert page.locator("#answer strong").text_content() in EMOTIONS
        assert page.locator("#answer .score").first.text_content().endswith("%")
        assert page.locator("#answer .probabilities th").all_text_contents() == list(EMOTIONS)
        page.locator("#answer .sound svg").wait_for()
        clear(page)


def test_a_recording_of_the_microphone_is_answered_and_can_be_trimmed(page):
    page.locator("#speech").get_by_role("button", name="Record").click()
    page.locator("#speech time.duration", has_text="0:02").wait_for()
    page.locator("#speech").get_by_role("button", name="Stop").first.click()
    page.locator("#answer strong").wait_for()
    before = page.locator("#answer figure [role=img]").get_attribute("aria-label")
    page.locator("#speech").get_by_label("Trim audio to selection").click()
    page.locator("#speech").get_by_role("button", name="Trim", exact=True).click()
    page.wait_for_function(
        "before => document.querySelector('#answer figure [role=img]')?.getAttribute('aria-label') !== before",
        arg=before,
    )
    page.locator("#answer strong").wait_for()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"This is no sound.", "notes.txt cannot be read as audio"),
        ("empty.wav", b"", "empty"),
        ("quiet.wav", 1.0, "quiet.wav is silent"),
        ("short.wav", 0.02, "short.wav is too short"),
        ("long.flac", 61.0, "long.flac is too long"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_on_the_page_and_the_old_answer_goes(
    page, speech_file, tmp_path, name, content, message
):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        soundfile.write(path, np.zeros(round(content * SAMPLING_RATE)), SAMPLING_RATE)
    upload(page, speech_file)
    page.locator("#answer .sound svg").wait_for()
    upload(page, path)
    if name == "empty.wav":  # the page itself does not send a file of 0 bytes, and says so
        page.get_by_text(re.compile("empty", re.IGNORECASE)).first.wait_for()
        return
    problem = page.locator("#answer").get_by_role("alert").filter(has_text=message)
    problem.wait_for()
    assert "Traceback" not in page.content()
    assert page.locator("#answer strong").count() == 0


def test_a_file_beyond_the_limit_is_refused_with_a_sentence(page, tmp_path):
    path = tmp_path / "big.wav"
    with path.open("wb") as file:
        file.truncate(MAX_UPLOAD_MB * 1_000_000 + 1)
    upload(page, path)
    page.get_by_text(re.compile("exceed the maximum allowed size", re.IGNORECASE)).first.wait_for()


def test_an_example_is_answered_also_by_a_second_model_beside_it(page, tmp_path):
    page.locator("#examples").get_by_text("flat").click()
    page.locator("#answer .sound svg").wait_for()
    box = page.locator("#compare input")
    box.click()
    page.get_by_role("option", name="log_mel_cnn_ravdess").click()
    page.locator(".result svg").nth(1).wait_for()
    assert page.locator(".result h3").all_text_contents() == ["tiny/random", "log_mel_cnn_ravdess"]
    assert page.locator(".result .probabilities").count() == 2
    box.fill(str(tmp_path))
    box.press("Enter")
    page.locator("#answer").get_by_role("alert").filter(has_text="has no config.json").wait_for()


def test_cleaning_up_takes_the_uploads_and_leaves_the_examples(page, demo, speech, tmp_path):
    upload(page, write_sound(speech * 0.9, tmp_path / "mine.wav"))
    page.locator("#answer .sound svg").wait_for()
    kept = {Path(file) for files in demo.temp_file_sets for file in files if Path(file).name == "mine.wav"}
    assert any(file.exists() for file in kept)
    delete_files_created_by_app(demo, age=None)  # what Gradio does on schedule, for files of any age
    assert not any(file.exists() for file in kept)
    clear(page)
    page.locator("#examples").get_by_text("flat").click()
    page.locator("#answer .sound svg").wait_for()


def test_a_timeline_is_a_chart_a_table_and_two_downloads(page, classifier, meeting):
    choose_recording(page, meeting)
    assert not page.locator("#timeline_chart").is_visible()
    page.locator("#timeline_start").click()
    page.locator("#timeline_status .summary").filter(has_text="meeting.flac").wait_for()
    expected = classifier.timeline(meeting)
    silent = [segment for segment in expected if segment.label is None]
    assert silent and f"{len(silent)} of them without speech" in page.locator("#timeline_status").inner_text()
    rows = cells(page, "timeline_table")
    assert rows[0][:2] == ["0", "3"] and rows[0][2] in EMOTIONS
    record = json.loads(download(page, "timeline_json"))
    assert record["file"] == "meeting.flac"
    assert [segment["label"] for segment in record["segments"]] == [segment.label for segment in expected]
    table = list(csv.DictReader(download(page, "timeline_csv").splitlines()))
    assert [row["label"] for row in table] == [segment.label or "" for segment in expected]
    assert [float(row["start"]) for row in table] == [segment.start for segment in expected]


def test_a_timeline_can_be_hovered_over_and_zoomed_into(page, meeting):
    choose_recording(page, meeting)
    page.locator("#timeline_start").click()
    chart = page.locator("#timeline_chart path[aria-roledescription=bar]").locator("visible=true")
    chart.first.wait_for()
    whole = bars(page, "timeline_chart")
    assert whole >= 15
    chart.first.hover()
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.get_by_text("emotion").wait_for()
    box = page.locator("#timeline_chart svg.marks").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
    page.mouse.up()
    count = BARS % "timeline_chart"
    page.wait_for_function(f"{count} < {whole} && {count} > 0")
    page.locator("#timeline_whole").click()
    page.wait_for_function(f"{count} === {whole}")


def test_a_timeline_shows_its_progress_and_can_be_cancelled(page, classifier, speech, tmp_path, monkeypatch):
    path = tmp_path / "hours.flac"
    soundfile.write(path, np.tile(speech, 200), SAMPLING_RATE)
    batches = []
    predict = classifier._predict_waveforms
    monkeypatch.setattr(classifier, "_predict_waveforms", lambda clips: batches.append(len(clips)) or predict(clips))
    choose_recording(page, path)
    page.locator("#timeline_start").click()
    page.locator("#timeline_status progress[value]").wait_for()
    page.locator("#timeline_status").get_by_text("to go").wait_for()
    page.locator("#timeline_cancel").click()
    page.locator("#timeline_status").get_by_text("Cancelled.").wait_for()
    assert page.locator("#timeline_cancel").is_disabled()
    done = json.loads(download(page, "timeline_json"))["segments"]  # what was computed is kept
    assert 0 < done[-1]["end"] < soundfile.info(path).duration
    # Nothing goes on behind the page: another answer takes one more batch and no other comes in between.
    before = len(batches)
    open_page(page, "Analyse")
    page.locator("#examples").get_by_text("flat").click()
    page.locator("#answer .sound svg").wait_for()
    assert len(batches) <= before + 2  # one may have been under way
    assert sum(batches) < soundfile.info(path).duration


def test_without_a_file_the_pages_say_what_is_missing_and_wrong_windows_too(page, meeting):
    open_page(page, "Timeline")
    page.locator("#timeline_start").click()
    page.locator("#timeline_status").get_by_role("alert").filter(has_text="no recording yet").wait_for()
    open_page(page, "Batch")
    page.locator("#batch_start").click()
    page.locator("#batch_status").get_by_role("alert").filter(has_text="no files yet").wait_for()


def test_a_text_file_is_explained_on_the_timeline_too(page, text_file):
    choose_recording(page, text_file)
    page.locator("#timeline_start").click()
    page.locator("#timeline_status").get_by_role("alert").filter(has_text="notes.txt cannot be read").wait_for()
    assert not page.locator("#timeline_chart").is_visible()


def test_the_live_page_follows_the_microphone_and_stops(page):
    open_page(page, "Live")
    assert not page.locator("#live_chart").is_visible()
    microphone = page.locator("#microphone")
    microphone.get_by_role("button", name="Record").click()
    count = BARS % "live_chart"
    page.wait_for_function(f"{count} >= 4")  # two seconds of sound
    page.locator("#live_answer strong").wait_for()
    assert page.locator("#live_answer strong").text_content() in EMOTIONS
    microphone.get_by_role("button", name="Stop").click()
    microphone.get_by_role("button", name="Record").wait_for()
    stopped = bars(page, "live_chart")
    open_page(page, "Analyse")  # the server has answered something else meanwhile
    page.locator("#examples").get_by_text("flat").click()
    page.locator("#answer .sound svg").wait_for()
    open_page(page, "Live")
    assert bars(page, "live_chart") <= stopped + 1
    microphone.get_by_role("button", name="Record").click()  # and it starts anew
    page.wait_for_function(f"{count} < {stopped} && {count} > 0")
    microphone.get_by_role("button", name="Stop").click()


def test_a_batch_is_a_sortable_table_and_a_bad_file_is_a_row_that_says_why(
    page, classifier, speech, text_file, tmp_path
):
    clips = [write_sound(speech, tmp_path / "b.wav"), write_sound(speech[4_000:], tmp_path / "a.wav")]
    open_page(page, "Batch")
    page.locator("#batch_files input[type=file]").set_input_files([clips[0], text_file, clips[1]])
    page.locator("#batch_files").get_by_text("notes").wait_for()
    page.locator("#batch_start").click()
    page.locator("#batch_status .summary").filter(has_text="3 files answered, 1 of them with a problem").wait_for()
    rows = cells(page, "batch_table")
    assert [row[0] for row in rows] == ["b.wav", "notes.txt", "a.wav"]
    assert [row[1] for row in rows] == [classifier.predict(clips[0]).label, "", classifier.predict(clips[1]).label]
    assert "cannot be read as audio" in rows[1][4]
    table = list(csv.DictReader(download(page, "batch_csv").splitlines()))
    assert [row["file"] for row in table] == ["b.wav", "notes.txt", "a.wav"]
    assert sum(float(table[0][emotion]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-4)
    assert "cannot be read as audio" in table[1]["error"]
    heading = page.locator("#batch_table").get_by_role("columnheader", name="file").first
    heading.hover()
    heading.get_by_label("Open cell menu").click()
    page.get_by_role("menuitem", name="Sort ascending").click()
    page.locator("#batch_table").get_by_role("gridcell").first.get_by_text("a.wav").wait_for()
    assert [row[0] for row in cells(page, "batch_table")] == ["a.wav", "b.wav", "notes.txt"]


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_is_wider_than_the_window(page, speech_file, meeting, text_file, width):
    page.set_viewport_size({"width": width, "height": 844})
    for name in PAGES:
        open_page(page, name)
        assert overflow(page) <= 0, name
    open_page(page, "Analyse")
    upload(page, speech_file)
    page.locator("#answer .sound svg").wait_for()
    page.locator("#compare input").click()
    page.get_by_role("option", name="log_mel_cnn_ravdess").click()
    page.locator(".result svg").nth(1).wait_for()
    assert overflow(page) <= 0
    upload(page, text_file)
    page.locator("#answer").get_by_role("alert").wait_for()
    assert overflow(page) <= 0
    choose_recording(page, meeting)
    page.locator("#timeline_start").click()
    page.locator("#timeline_chart path[aria-roledescription=bar]").locator("visible=true").first.wait_for()
    cells(page, "timeline_table")
    assert overflow(page) <= 0
    open_page(page, "Batch")
    page.locator("#batch_files input[type=file]").set_input_files([speech_file, text_file])
    page.locator("#batch_files").get_by_text("notes").wait_for()
    page.locator("#batch_start").click()
    cells(page, "batch_table")
    assert overflow(page) <= 0


NAMELESS = """() => [...document.querySelectorAll('button, input, select, textarea')].filter(element =>
    element.offsetParent && element.type !== 'file' && !(element.ariaLabel || element.innerText.trim() || element.title
    || element.labels?.length || element.getAttribute('aria-labelledby'))).map(element => element.outerHTML)"""
UNREACHABLE = """() => [...document.querySelectorAll('#pages button, #pages input, #pages select')].filter(element =>
    element.offsetParent && !element.closest('[aria-hidden=true]') && !element.disabled && element.tabIndex < 0
    && element.type !== 'file'
    && element.getAttribute('role') !== 'tab').map(element => element.outerHTML)"""


def test_every_control_has_a_name_and_can_be_reached_by_the_keyboard(page):
    for name in PAGES:
        open_page(page, name)
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(UNREACHABLE) == []


def test_the_pages_follow_the_light_and_the_dark_of_the_machine(browser, url):
    grounds, texts = [], []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.set_default_timeout(WAIT)
        page.goto(url)
        page.locator("#answer .hint").wait_for()
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        texts.append(page.evaluate("getComputedStyle(document.querySelector('#title h1')).color"))
        page.close()
    light, dark = (sum(map(int, re.findall(r"\d+", ground)[:3])) for ground in grounds)
    assert light > 3 * 200 and dark < 3 * 60
    assert texts[0] != texts[1]
