"""The demo: a title, its pages as tabs, the endpoints, and how all of it is served."""

import logging
from pathlib import Path

import gradio as gr

from ser_hf.classifier import EmotionClassifier

from .about import about_page
from .analyse import EXAMPLES, analyse, analyse_page
from .api import add_endpoints
from .batch import batch_page
from .checkpoints import Checkpoints
from .live import live_page
from .timeline import timeline_page
from .uploads import CHECK_SECONDS, KEEP_SECONDS

TITLE = "Emotion in speech"
EXPLANATION = "Say something, and see which emotion the model hears in **how** it was said, and when."
LIMITS = (
    "It can fail on everyday speech and on other languages, accents and microphones, and a voice is no proof of a "
    "feeling. **Do not use it for decisions about people.** Recordings are deleted within 10 minutes."
)
MAX_SECONDS = 4 * 3600.0  # longest recording of the timeline
MAX_UPLOAD_MB = 1000
CONCURRENCY = 2

# System fonts only: a page that fetches a font tells another host about its visitors.
THEME = gr.themes.Default(
    primary_hue="orange",
    neutral_hue="zinc",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    body_text_color_subdued="*neutral_500",  # the theme's own is too pale to read on white
    body_text_color_subdued_dark="*neutral_400",
)
CSS = Path(__file__).with_name("page.css")


def build_demo(
    checkpoints: Checkpoints | EmotionClassifier,
    max_seconds: float = MAX_SECONDS,
    concurrency: int = CONCURRENCY,
) -> gr.Blocks:
    """The pages and endpoints, served by `launch_demo`.

    Args:
        checkpoints: the models; a classifier stands for itself and the embedded ones.
        max_seconds: of a recording for the timeline.
        concurrency: how many requests of one kind are computed at a time; the others wait.
    """
    if isinstance(checkpoints, EmotionClassifier):
        checkpoints = Checkpoints(checkpoints)
    classifier = checkpoints.main
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CHECK_SECONDS, KEEP_SECONDS)) as demo:
        gr.Markdown(f"# {TITLE}\n{EXPLANATION}", elem_id="title")
        with gr.Tabs(elem_id="pages"):
            with gr.Tab("Analyse", id="analyse"):
                analyse_page(checkpoints)
            with gr.Tab("Timeline", id="timeline"):
                timeline_page(classifier, max_seconds)
            with gr.Tab("Live", id="live"):
                live_page(classifier)
            with gr.Tab("Batch", id="batch"):
                batch_page(classifier)
            with gr.Tab("About", id="about"):
                about_page(classifier)
        gr.Markdown(LIMITS, elem_id="limits")
        add_endpoints(classifier, max_seconds)
    return demo.queue(default_concurrency_limit=concurrency)


def warm_up(checkpoints: Checkpoints) -> None:
    """Does everything once, so that the first visitor does not wait for what happens only once."""
    analyse(checkpoints, str(next(iter(EXAMPLES.values()))))


def launch_demo(
    demo: gr.Blocks,
    host: str,
    port: int | None,
    *,
    share: bool = False,
    auth: tuple[str, str] | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
    mcp: bool = False,
) -> str:
    """Serves the page in threads of its own and returns its address; without a port, a free one is taken."""
    _, local_url, share_url = demo.launch(
        server_name=host,
        server_port=port,
        share=share,
        auth=auth,
        max_file_size=round(max_upload_mb * 1_000_000),
        mcp_server=mcp,
        prevent_thread_lock=True,
        quiet=True,
        theme=THEME,
        css_paths=CSS,
        footer_links=["api", "settings"],
        run_history=False,  # would keep recordings in the visitor's browser
        enable_monitoring=False,
        ssr_mode=False,  # would need Node.js
    )
    # What these write names the file: a recording that is cut off, one deleted while a browser was asking for it.
    for name in ("ser_hf.audio", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return (share_url or local_url).rstrip("/")
