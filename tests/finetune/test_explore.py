"""finetune/explore.py: a page that asks nothing of anyone, figures that are right, and odd files found by name."""

import re
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from ser_hf import DatasetError
from ser_hf.audio import SAMPLING_RATE
from ser_hf.corpora import Corpus
from ser_hf.exploration import TRIM_THRESHOLDS, explore, measure, odd_files, representative

REPOSITORY = Path(__file__).parents[2]


def tone(seconds: float, peak: float = 0.1, silence: float = 0.0) -> np.ndarray:
    sound = peak * np.sin(2 * np.pi * 440 * np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE)
    quiet = np.zeros(int(silence * SAMPLING_RATE))
    return np.concatenate([quiet, sound, quiet])


def corpus_of(folder: Path, clips: dict[str, np.ndarray], labels: list[int], **columns) -> Corpus:
    """Clips of calm (0) and sad (1) by file name, with those columns that are given."""
    paths = []
    for name, waveform in clips.items():
        paths.append(str(folder / name))
        soundfile.write(paths[-1], waveform, SAMPLING_RATE)
    extra = {key: columns.pop(key) for key in ("left_out", "duplicates", "warnings") if key in columns}
    dataset = datasets.Dataset.from_dict({"audio": paths, "label": labels, **columns})
    dataset = dataset.cast_column("label", datasets.ClassLabel(names=["calm", "sad", "angry"]))
    return Corpus("mine", dataset.cast_column("audio", datasets.Audio(decode=False)), **extra)


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Corpus:
    """Twelve plain clips, and one of each kind of odd ones."""
    rng = np.random.default_rng(0)
    clips = {f"{n}.wav": tone(1 + 0.02 * rng.uniform(), 0.1 + 0.01 * rng.uniform(), 0.5) for n in range(12)}
    clips["clipped.wav"] = np.clip(tone(1.01, 3.0, 0.5), -1, 1)
    clips["offset.wav"] = tone(2.01, 0.1) + 0.03
    clips["short_sound.wav"] = tone(0.2, 0.1, 0.9)
    clips["long.wav"] = tone(9, 0.1, 0.5)
    clips["quiet.wav"] = tone(1.01, 0.0005, 0.5)
    count = len(clips)
    return corpus_of(
        tmp_path_factory.mktemp("mine"), clips, [n % 2 for n in range(count)], file=list(clips),
        speaker=[f"<{n % 3}>" for n in range(count)], gender=["female"] * 8 + [None] * (count - 8),
        duration=[len(clip) / SAMPLING_RATE for clip in clips.values()], left_out=[("broken.wav", "is cut off")],
        duplicates=[("1.wav", "0.wav")], warnings=["no clip of actor 18"],
    )  # fmt: skip


def test_what_is_measured_is_what_is_there(tmp_path):
    corpus = corpus_of(tmp_path, {"a.wav": tone(1.0, 0.1, 0.5), "b.wav": tone(1.0, 0.2)}, [0, 1])
    heard = measure(corpus, [0, 1])
    assert heard.seconds == pytest.approx([2.0, 1.0])
    at_30 = heard.kept[:, TRIM_THRESHOLDS.index(30.0)]
    assert at_30 == pytest.approx([1.2, 1.0], abs=0.05)  # 0.1 s is left at each end
    assert heard.levels[1] == pytest.approx(20 * np.log10(0.2 / np.sqrt(2)), abs=0.1)
    assert (np.diff(heard.kept, axis=1) >= 0).all()  # a higher threshold removes less
    assert heard.clipped.tolist() == [0, 0]


def test_odd_files_are_named_with_the_reason(mine):
    heard = measure(mine, range(len(mine.dataset)))
    labels = [mine.dataset.features["label"].int2str(label) for label in mine.dataset["label"]]
    found = odd_files(mine, heard, labels)
    assert found[0] == ("broken.wav", "is cut off")
    reasons = {(file, reason.split(":")[0]) for file, reason in found[1:]}
    assert reasons >= {
        ("clipped.wav", "clipped"), ("offset.wav", "offset"), ("short_sound.wav", "little sound"),
        ("long.wav", "length"), ("quiet.wav", "loudness"),
    }  # fmt: skip
    assert not {file for file, _ in reasons} & {f"{n}.wav" for n in range(12)}


def test_the_clip_that_is_shown_is_a_usual_one(mine):
    heard = measure(mine, range(len(mine.dataset)))
    labels = ["calm" if label == 0 else "sad" for label in mine.dataset["label"]]
    for emotion in ("calm", "sad"):
        clip = representative(heard, labels, emotion)
        assert labels[clip] == emotion and clip < 12


def test_the_page_holds_its_pictures_and_asks_nothing_of_anyone(mine):
    page = explore(mine)
    pictures = re.findall(r'<img [^>]*src="data:image/png;base64,[A-Za-z0-9+/=]+" alt="[^"]+">', page)
    assert len(pictures) == 6 == page.count("<img")
    assert "<script" not in page and "<link" not in page and "url(" not in page and "@import" not in page
    assert set(re.findall(r'src="(\w+):', page)) == {"data"} and "href" not in page
    assert "default-src 'none'" in page
    for text in ("broken.wav", "0.wav", "no clip of actor 18", "No clip is labelled angry.", "long.wav"):
        assert text in page
    assert "<2>" not in page  # a speaker's name is text, not a tag


def test_a_corpus_without_speakers_genders_and_names_has_a_page_too(tmp_path):
    corpus = corpus_of(tmp_path, {f"{n}.wav": tone(1 + n / 10) for n in range(4)}, [0, 0, 1, 1])
    page = explore(corpus)
    assert page.count("<img") == 5 and "Speakers are not known" in page
    assert "Every emotion has 2 clips." in page
    assert explore(corpus, max_clips=3).count("A random choice of 3 clips was heard.") >= 1


def test_clips_that_cannot_be_heard_are_listed(tmp_path):
    corpus = corpus_of(tmp_path, {"a.wav": tone(1.0), "b.wav": tone(1.1)}, [0, 1])
    (tmp_path / "b.wav").write_bytes(b"no sound")
    assert "b.wav" in explore(corpus).split("Odd files")[1]
    (tmp_path / "a.wav").unlink()
    with pytest.raises(DatasetError, match="None of the 2 clips of mine can be read"):
        explore(corpus)


def test_many_speakers_are_cut_to_those_with_the_most_clips(tmp_path):
    clips = {f"{n}.wav": tone(1.0) for n in range(70)}
    page = explore(corpus_of(tmp_path, clips, [n % 2 for n in range(70)], speaker=[f"s{n}" for n in range(70)]))
    assert "Shown are the 60 with the most." in page


def test_the_script_writes_the_page(corpus_dir, tmp_path):
    script = str(REPOSITORY / "finetune" / "explore.py")
    command = [
        sys.executable,
        script,
        "--data_dir",
        str(corpus_dir),
        "--output",
        str(tmp_path / "new" / "report.html"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout and "96 clips" in done.stdout
    assert "<title>ravdess" in (tmp_path / "new" / "report.html").read_text()
