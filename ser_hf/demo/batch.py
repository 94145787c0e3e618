"""The page for many files: one row for each, also for those that cannot be used."""

import io
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from ser_hf.classifier import EmotionClassifier
from ser_hf.errors import SerError
from ser_hf.records import prediction_record, write_predictions

from . import markup
from .uploads import explain, open_upload, save_download

HINT = "Choose as many clips as you like and start: the table and its download appear here."
COLUMNS = ["file", "emotion", "confidence", "seconds", "problem"]
FILES_AT_ONCE = 8  # decoded and predicted together


def batch_page(classifier: EmotionClassifier) -> None:
    """Adds the components and events of this page to the Blocks around it."""
    files = gr.File(label="Clips of speech", file_count="multiple", height=200, elem_id="batch_files")
    with gr.Row(elem_classes="buttons"):
        start = gr.Button("Start", variant="primary", elem_id="batch_start")
        cancel = gr.Button("Cancel", variant="stop", interactive=False, elem_id="batch_cancel")
    status = gr.HTML(markup.hint(HINT), apply_default_css=False, elem_id="batch_status")
    with gr.Column(visible=False, elem_id="batch_result") as result:
        table = gr.Dataframe(
            headers=COLUMNS,
            datatype=["str", "str", "number", "number", "str"],
            interactive=False,
            wrap=True,
            column_widths=["200px", "130px", "120px", "110px", "520px"],
            max_height=480,
            label="Answers; ⋮ beside a heading sorts by it",
            buttons=[],
            elem_id="batch_table",
        )
        with gr.Row(elem_classes="buttons"):
            as_csv = gr.DownloadButton("Download CSV with all probabilities", size="sm", elem_id="batch_csv")
    state = gr.State(None)

    def shown(records: list[dict], message: str) -> dict:
        file = io.StringIO()
        write_predictions(records, classifier.labels, file)
        return {
            status: message,
            result: gr.Column(visible=bool(records)),
            table: [_row(record) for record in records],
            as_csv: save_download("emotions.csv", file.getvalue()),
            cancel: gr.Button(interactive=False),
        }

    def run(paths: list[str] | None) -> Iterator[dict]:
        if not paths:
            yield {status: markup.problem("There are no files yet: choose some above, then start.")}
            return
        records: list[dict] = []
        yield {
            status: markup.progress(0, len(paths), f"0 of {len(paths)}"),
            state: records,
            result: gr.Column(visible=False),
            cancel: gr.Button(interactive=True),
        }
        for record in predictions(classifier, paths):
            records.append(record)
            if len(records) % FILES_AT_ONCE == 0:
                yield {status: markup.progress(len(records), len(paths), f"{len(records)} of {len(paths)}")}
        yield shown(records, markup.summary(_said(records)))

    def stop(records: list[dict] | None) -> dict:
        return shown(records or [], markup.summary(f"Cancelled. {_said(records or [])}"))

    outputs = [status, result, table, as_csv, cancel]
    private = {"api_visibility": "private", "show_progress": "hidden"}
    running = start.click(run, files, [*outputs, state], **private)
    cancel.click(stop, state, outputs, cancels=[running], **private)


def predictions(classifier: EmotionClassifier, paths: list[str]) -> Iterator[dict]:
    """A `prediction_record` for every file, in order; whatever is wrong with one does not stop the rest."""
    for first in range(0, len(paths), FILES_AT_ONCE):
        group = paths[first : first + FILES_AT_ONCE]
        results: dict[int, object] = {}
        opened = {}
        for number, path in enumerate(group):
            try:
                opened[number] = open_upload(path)
            except SerError as error:
                results[number] = error
        try:
            answers = classifier.predict(list(opened.values()), batch_size=FILES_AT_ONCE, on_error="return")
            results.update(zip(opened, answers, strict=True))
        except Exception as error:
            failure = SerError(explain(error))
            results.update(dict.fromkeys(opened, failure))
        finally:
            for file in opened.values():
                file.close()
        for number, path in enumerate(group):
            yield prediction_record(Path(path).name, results[number])


def _row(record: dict) -> list:
    if "error" in record:
        return [record["file"], "", None, None, record["error"]]
    emotion = f"not sure ({record['label']})" if record["uncertain"] else record["label"]
    return [record["file"], emotion, round(record["score"], 2), round(record["duration"], 2), ""]


def _said(records: list[dict]) -> str:
    failed = sum("error" in record for record in records)
    text = f"{len(records)} file{'s' if len(records) != 1 else ''} answered"
    return f"{text}, {failed} of them with a problem." if failed else f"{text}."
