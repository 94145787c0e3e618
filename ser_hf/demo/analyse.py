"""The page for one clip: upload or record, see the emotion, how sure the model is, and which moments decided it."""

from pathlib import Path

import gradio as gr
import numpy as np

from ser_hf.audio import SAMPLING_RATE, load_audio
from ser_hf.classifier import EmotionClassifier
from ser_hf.plots import figure_svg, sound_figure

from . import markup
from .checkpoints import Checkpoints, short_name
from .uploads import explain, open_upload

EXAMPLES_FOLDER = Path(__file__).parent / "examples"  # made by make_examples.py: synthetic voices
EXAMPLES = {
    "excited": EXAMPLES_FOLDER / "excited.flac",
    "flat": EXAMPLES_FOLDER / "flat.flac",
    "low and slow": EXAMPLES_FOLDER / "low_and_slow.flac",
}
HINT = "Upload a clip, record one, or choose an example: the emotion appears here."
ATTENTION_CAPTION = (
    "What the model listened to: the redder the waveform and the higher the shade behind it, the more a moment "
    "weighed. The faint ends are silence that was left out. Below, the log-mel spectrogram."
)
EVEN_CAPTION = (
    "What the model listened to: every moment weighed nearly the same, so colour and shade are even. The faint ends "
    "are silence that was left out. Below, the log-mel spectrogram."
)
EVEN = 1.25  # times the mean weight: where none weighs more than this, no moment is said to have decided
PLAIN_CAPTION = "The waveform, its silent ends faint, and the log-mel spectrogram."
NO_OTHER = "no other model"


def analyse_page(checkpoints: Checkpoints) -> None:
    """Adds the components and events of this page to the Blocks around it."""
    # Served from where they lie: as copies in the cache, the examples would be deleted together with the uploads.
    gr.set_static_paths(EXAMPLES_FOLDER)
    with gr.Row(equal_height=False, elem_id="analyse"):
        with gr.Column(scale=2, min_width=320):
            # The player's own upload takes what the browser calls audio and turns the rest away before the server can
            # say why (WebM and MP4 are video to it), so files come in through a box that takes everything.
            upload = gr.File(label="A clip: WAV, MP3, OGG, FLAC, M4A, WebM …", height=110, elem_id="upload")
            sound = gr.Audio(
                label="The clip: record, play, trim",
                sources=["microphone"],
                type="filepath",  # as it came: Gradio would need the ffmpeg program to convert it
                buttons=[],  # its share button sends recordings elsewhere
                elem_id="speech",
            )
            gr.Examples(
                [[str(path)] for path in EXAMPLES.values()],
                inputs=[sound],
                example_labels=list(EXAMPLES),
                label="Examples, spoken by a computer",
                elem_id="examples",
            )
            compare = gr.Dropdown(
                [NO_OTHER, *checkpoints.names],
                value=NO_OTHER,
                label="Beside it, the answer of",
                info="A name of the list, a folder or a Hub name." if checkpoints.any_name else None,
                allow_custom_value=checkpoints.any_name,
                elem_id="compare",
            )
        with gr.Column(scale=3, min_width=320):
            answer = gr.HTML(markup.hint(HINT), apply_default_css=False, elem_id="answer")

    def show(path: str | None, other: str) -> str:
        return analyse(checkpoints, path, None if other == NO_OTHER else other)

    # The box stays empty for the next file; the clip moves on to the player.
    upload.upload(lambda path: (path, None), upload, [sound, upload], api_visibility="private", show_progress="hidden")
    gr.on(
        [sound.change, compare.change],
        show,
        [sound, compare],
        answer,
        api_visibility="private",
        trigger_mode="always_last",
    )


def analyse(checkpoints: Checkpoints, path: str | None, other: str | None = None) -> str:
    """The answer for a clip as HTML: the emotion, the probabilities and the figure; of a second model too, if named.

    Without a clip, and where one cannot be used, it is a sentence that says so.
    """
    if path is None:
        return markup.hint(HINT)
    try:
        classifiers = [checkpoints.main, *([checkpoints.get(other)] if other else [])]
        with open_upload(path) as source:
            waveform = load_audio(source, max_seconds=min(classifier.max_seconds for classifier in classifiers))
        parts = [_result(classifier, waveform) for classifier in classifiers]
        if other:
            names = [short_name(checkpoints.main.name) or "the demo's model", short_name(other)]
            return markup.side_by_side(names, parts)
        return parts[0]
    except Exception as error:
        return markup.problem(explain(error))


def _result(classifier: EmotionClassifier, waveform: np.ndarray) -> str:
    """The answer of one model; waveform (samples,) at 16 kHz."""
    prediction = classifier.predict((waveform, SAMPLING_RATE))
    figure = sound_figure(waveform, SAMPLING_RATE, prediction.attention, prediction.bounds)
    picture = markup.sound(
        figure_svg(figure),
        description=f"Waveform and spectrogram of {prediction.duration:.1f} seconds",
        caption=_caption(prediction.attention),
    )
    return markup.answer(prediction) + markup.probabilities(prediction.scores) + picture


def _caption(attention: np.ndarray | None) -> str:
    """What the figure shows; attention (frames,) weights that sum to 1."""
    if attention is None:
        return PLAIN_CAPTION
    return ATTENTION_CAPTION if attention.max() * len(attention) > EVEN else EVEN_CAPTION
