"""The page for one clip: upload or record, see the emotion, how sure the model is, and which moments decided it."""

import logging
from pathlib import Path

import gradio as gr
import numpy as np

from ser_hf.__main__ import as_record
from ser_hf.audio import SAMPLING_RATE, load_audio
from ser_hf.classifier import EmotionClassifier, Prediction
from ser_hf.errors import SerError
from ser_hf.plots import figure_svg, sound_figure

from . import markup

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
PLAIN_CAPTION = "The waveform, its silent ends faint, and the log-mel spectrogram."

logger = logging.getLogger(__name__)


def analyse_page(classifier: EmotionClassifier) -> None:
    """Adds the components and events of this page to the Blocks around it."""
    # Served from where they lie: as copies in the cache, the examples would be deleted together with the uploads.
    gr.set_static_paths(EXAMPLES_FOLDER)
    with gr.Row(equal_height=False, elem_id="analyse"):
        with gr.Column(scale=2, min_width=320):
            sound = gr.Audio(
                label="Speech",
                sources=["upload", "microphone"],
                type="filepath",  # as it came: Gradio would need the ffmpeg program to convert it
                buttons=[],  # its share button sends recordings elsewhere
                elem_id="speech",
            )
            # The box above takes what the browser calls audio; WebM and MP4 files are video to it, whatever they hold.
            other = gr.UploadButton("Upload WebM, MP4 or any other file", size="sm", elem_id="other")
            gr.Examples(
                [[str(path)] for path in EXAMPLES.values()],
                inputs=[sound],
                example_labels=list(EXAMPLES),
                label="Examples, spoken by a computer",
                elem_id="examples",
            )
        with gr.Column(scale=3, min_width=320):
            answer = gr.HTML(markup.hint(HINT), apply_default_css=False, elem_id="answer")
            probabilities = gr.HTML(visible=False, apply_default_css=False, elem_id="probabilities")
            figure = gr.HTML(visible=False, apply_default_css=False, elem_id="sound")
    other.upload(lambda path: path, other, sound, api_visibility="private", show_progress="hidden")

    def show(path: str | None) -> list[gr.HTML]:
        return [gr.HTML(value, visible=bool(value)) for value in analyse(classifier, path)]

    # One component shows progress: three spinners side by side are two too many.
    sound.change(
        show,
        sound,
        [answer, probabilities, figure],
        api_visibility="private",
        trigger_mode="always_last",
        show_progress_on=answer,
    )

    def predict(file: str) -> dict:
        """The emotion of one clip of speech: {"file", "label", "score", "scores", "duration"}."""
        return predict_record(classifier, file)

    gr.on([], predict, sound, gr.JSON(label="prediction", visible=False), api_name="predict")


def analyse(classifier: EmotionClassifier, path: str | None) -> tuple[str, str, str]:
    """The answer, the probabilities and the figure for a clip, as HTML.

    Without a clip, and where one cannot be used, the answer is a sentence that says so and the other two are empty.
    """
    if path is None:
        return markup.hint(HINT), "", ""
    try:
        prediction, waveform = _listen(classifier, path)
        figure = sound_figure(waveform, SAMPLING_RATE, prediction.attention, prediction.bounds)
        picture = markup.sound(
            figure_svg(figure),
            description=f"Waveform and spectrogram of {prediction.duration:.1f} seconds",
            caption=PLAIN_CAPTION if prediction.attention is None else ATTENTION_CAPTION,
        )
        return markup.answer(prediction), markup.probabilities(prediction.scores), picture
    except SerError as error:
        return markup.problem(str(error)), "", ""
    except Exception as error:
        logger.exception("A clip could not be analysed")
        sentence = f"Something went wrong here ({type(error).__name__}), not with your clip. Please try another one."
        return markup.problem(sentence), "", ""


def predict_record(classifier: EmotionClassifier, path: str | None) -> dict:
    """The same JSON object that the command line prints for a clip.

    Raises:
        gr.Error: with the message of the `SerError`, which Gradio hands to the caller.
    """
    if path is None:
        raise gr.Error("No file was given: send one sound file.", print_exception=False)
    try:
        prediction, _ = _listen(classifier, path)
    except SerError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return as_record(Path(path).name, prediction)


def _listen(classifier: EmotionClassifier, path: str) -> tuple[Prediction, np.ndarray]:
    """A prediction, and the waveform (samples,) at 16 kHz that it was made from."""
    # Bytes and a name, so that messages call the clip what its owner calls it and not where the server put it.
    source = {"path": Path(path).name, "bytes": Path(path).read_bytes()}
    waveform = load_audio(source, max_seconds=classifier.max_seconds)
    return classifier.predict((waveform, SAMPLING_RATE)), waveform
