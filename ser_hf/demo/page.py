"""The demo: a title, its pages, and what to know about the model."""

from pathlib import Path

import gradio as gr

from ser_hf.classifier import EMBEDDED, EmotionClassifier

from .analyse import EXAMPLES, analyse, analyse_page

TITLE = "Emotion in speech"
EXPLANATION = "Say something, and see which emotion the model hears in **how** it was said, and when."
EMBEDDED_DATA = (
    "It was trained on acted speech: two sentences, spoken by North American actors "
    "([RAVDESS](https://doi.org/10.1371/journal.pone.0196391), 24 actors, some of them kept back for testing)."
)
OTHER_DATA = "Its model card says what it was trained on."
LIMITS = (
    "It can fail on everyday speech and on other languages, accents and microphones, and a voice is no proof of a "
    "feeling. **Do not use it for decisions about people.** Recordings are deleted within 10 minutes."
)

CHECK_SECONDS, KEEP_SECONDS = 60, 540  # uploads older than 540 s are deleted every 60 s: after 10 minutes at most

# System fonts only: a page that fetches a font tells another host about its visitors.
THEME = gr.themes.Default(
    primary_hue="orange",
    neutral_hue="zinc",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(body_text_color_subdued="*neutral_500")  # the theme's own is too pale to read on white
CSS = Path(__file__).with_name("page.css")


def build_demo(classifier: EmotionClassifier) -> gr.Blocks:
    """The page, served by `launch_demo`."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CHECK_SECONDS, KEEP_SECONDS)) as demo:
        gr.Markdown(f"# {TITLE}\n{EXPLANATION}", elem_id="title")
        analyse_page(classifier)
        gr.Markdown(about(classifier.name), elem_id="about")
    return demo


def about(model: str) -> str:
    """What to know about a model, given its folder or Hub name, as Markdown."""
    name = Path(model).name if Path(model).is_dir() else model
    data = EMBEDDED_DATA if model == str(EMBEDDED) else OTHER_DATA
    return f"**Model:** `{name}`. {data} {LIMITS}" if name else f"{data} {LIMITS}"


def warm_up(classifier: EmotionClassifier) -> None:
    """Does everything once, so that the first visitor does not wait for what happens only once."""
    analyse(classifier, str(next(iter(EXAMPLES.values()))))


def launch_demo(demo: gr.Blocks, host: str, port: int | None, share: bool = False) -> str:
    """Serves the page in threads of its own and returns its address; without a port, a free one is taken."""
    _, local_url, share_url = demo.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        theme=THEME,
        css_paths=CSS,
        footer_links=["api", "settings"],
        run_history=False,  # would keep recordings in the visitor's browser
        ssr_mode=False,  # would need Node.js
    )
    return (share_url or local_url).rstrip("/")
