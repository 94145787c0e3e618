"""A checkpoint as a stranger's machine sees it: run as a program, it loads one by a bare `pipeline` and prints scores.

    python -I ser_hf/bare_pipeline.py CHECKPOINT CLIPS.npz [CLIP.wav]

Without this package and without network: both are barred here, whatever is installed beside it. Prints one line of
JSON: the keys that the weights lack or have too many, and every clip's scores alone, in a batch and from the file.
"""

import json
import sys


def bar_network(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise OSError(f"no network here: {event} {arguments[1:]}")


def main(checkpoint: str, clips_file: str, sound_file: str | None = None) -> None:
    sys.addaudithook(bar_network)
    sys.modules["ser_hf"] = None  # an import of it fails, even where it is installed
    import numpy
    from transformers import AutoModelForAudioClassification, logging, pipeline

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    _, loading = AutoModelForAudioClassification.from_pretrained(
        checkpoint, trust_remote_code=True, output_loading_info=True, ignore_mismatched_sizes=True
    )
    classify = pipeline("audio-classification", model=checkpoint, trust_remote_code=True, top_k=None)
    rate = classify.feature_extractor.sampling_rate
    clips = [{"array": array, "sampling_rate": rate} for array in numpy.load(clips_file).values()]
    answers = {
        "alone": [classify(dict(clip)) for clip in clips],
        "in a batch": classify([dict(clip) for clip in clips], batch_size=len(clips)),
    }
    if sound_file:
        answers["from a file"] = [classify(sound_file)]
    scores = {way: [{row["label"]: row["score"] for row in clip} for clip in rows] for way, rows in answers.items()}
    print(json.dumps({
        "weights": len(classify.model.state_dict()),
        "missing": sorted(loading["missing_keys"]),
        "unexpected": sorted(loading["unexpected_keys"]),
        "mismatched": sorted(key for key, *_ in loading["mismatched_keys"]),
        "scores": scores,
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
