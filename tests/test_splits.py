from collections import Counter

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ser_hf.errors import DatasetError
from ser_hf.splits import (
    EMOBOX_TEST_ACTORS,
    PROTOCOLS,
    Fold,
    assert_no_leak,
    choose_protocol,
    describe,
    get_fold,
    make_folds,
    rotate_validation,
)

ACTORS = [f"{actor:02d}" for actor in range(1, 25)]


def make_dataset(speakers, labels, corpus="ravdess", genders=None) -> Dataset:
    columns = {"label": labels, "speaker": speakers, "corpus": [corpus] * len(labels)}
    if genders is not None:
        columns["gender"] = genders
    names = ["neutral", "happy", "sad", "angry"]
    types = {"label": ClassLabel(names=names)}
    return Dataset.from_dict(columns, features=Features({name: types.get(name, Value("string")) for name in columns}))


@pytest.fixture(scope="module")
def ravdess() -> Dataset:
    """24 actors, 8 clips each, two of each class."""
    speakers = [actor for actor in ACTORS for _ in range(8)]
    genders = ["male" if int(speaker) % 2 else "female" for speaker in speakers]
    return make_dataset(speakers, [0, 0, 1, 1, 2, 2, 3, 3] * 24, genders=genders)


def speakers_of(dataset, rows) -> set[str]:
    return set(dataset.select(rows)["speaker"])


def assert_partition(dataset, folds) -> None:
    everything = list(range(len(dataset)))
    assert sorted(row for fold in folds for row in fold.test) == everything
    for fold in folds:
        assert sorted(fold.train + fold.validation + fold.test) == everything


def assert_speakers_apart(dataset, fold) -> None:
    train, validation, test = (speakers_of(dataset, side) for side in (fold.train, fold.validation, fold.test))
    assert train and validation and test
    assert train.isdisjoint(validation) and train.isdisjoint(test) and validation.isdisjoint(test)


def test_emobox_has_the_six_published_folds(ravdess):
    assert EMOBOX_TEST_ACTORS == {
        1: (1, 11, 20, 21),
        2: (4, 10, 12, 14),
        3: (8, 9, 19, 23),
        4: (3, 5, 7, 24),
        5: (2, 15, 16, 18),
        6: (6, 13, 17, 22),
    }
    folds = make_folds(ravdess, "emobox")
    assert [fold.number for fold in folds] == [1, 2, 3, 4, 5, 6]
    assert speakers_of(ravdess, folds[0].test) == {"01", "11", "20", "21"}
    assert_partition(ravdess, folds)


@pytest.mark.parametrize("protocol", ["emobox", "speaker"])
def test_validation_is_a_fifth_of_the_training_speakers_half_of_them_women(ravdess, protocol):
    for fold in make_folds(ravdess, protocol):
        held_out = speakers_of(ravdess, fold.validation)
        assert len(held_out) == 4
        assert sum(int(speaker) % 2 for speaker in held_out) == 2
        assert_speakers_apart(ravdess, fold)


def test_a_single_validation_speaker_is_a_man_and_a_woman_in_turn(ravdess):
    folds = make_folds(ravdess, "emobox", validation_speakers=1)
    men = [int(ravdess[fold.validation[0]]["speaker"]) % 2 for fold in folds]
    assert men in ([0, 1] * 3, [1, 0] * 3)


@pytest.mark.parametrize(("wanted", "number"), [(1, 1), (6, 6), (6.0, 6), (0.5, 10), (0.01, 1), (0, 0)])
def test_the_number_of_validation_speakers_can_be_chosen(ravdess, wanted, number):
    for fold in make_folds(ravdess, "emobox", validation_speakers=wanted):
        assert len(speakers_of(ravdess, fold.validation)) == number


def test_a_small_corpus_keeps_most_speakers_for_training():
    dataset = make_dataset([speaker for speaker in "abcd" for _ in range(4)], [0, 1, 2, 3] * 4, corpus="savee")
    for fold in make_folds(dataset, "speaker", num_folds=4):
        assert [len(speakers_of(dataset, side)) for side in (fold.train, fold.validation, fold.test)] == [2, 1, 1]


def test_speakers_without_a_known_gender_are_still_divided(ravdess):
    dataset = make_dataset(list(ravdess["speaker"]), list(ravdess["label"]), genders=[None] * len(ravdess))
    assert {len(speakers_of(dataset, fold.validation)) for fold in make_folds(dataset, "emobox")} == {4}


def test_random_folds_are_80_to_20_and_stratified(ravdess):
    folds = make_folds(ravdess, "random")
    assert_partition(ravdess, folds)
    for fold in folds:
        assert abs(len(fold.test) / len(ravdess) - 0.2) < 0.01
        for side in (fold.train, fold.validation, fold.test):
            counts = Counter(ravdess.select(side)["label"])
            assert len(counts) == 4
            assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("protocol", ["speaker", "random"])
def test_the_same_seed_gives_the_same_folds_and_another_one_others(ravdess, protocol):
    assert make_folds(ravdess, protocol, seed=3) == make_folds(ravdess, protocol, seed=3)
    assert make_folds(ravdess, protocol, seed=3) != make_folds(ravdess, protocol, seed=4)


def test_the_seed_changes_who_validates_emobox_but_not_who_tests_it(ravdess):
    first, second = make_folds(ravdess, "emobox", seed=1), make_folds(ravdess, "emobox", seed=2)
    assert [fold.test for fold in first] == [fold.test for fold in second]
    assert [fold.validation for fold in first] != [fold.validation for fold in second]


def test_the_order_of_the_clips_does_not_change_who_validates(ravdess):
    backwards = ravdess.select(range(len(ravdess) - 1, -1, -1))
    for fold, other in zip(make_folds(ravdess, "emobox"), make_folds(backwards, "emobox"), strict=True):
        assert speakers_of(ravdess, fold.validation) == speakers_of(backwards, other.validation)


def test_the_name_of_a_leaky_protocol_says_so():
    assert describe("random") == "random clips, 80/20 (leaky: the same speakers are in training and test)"
    assert "90/10 (leaky" in describe("random", 10)
    assert describe("speaker", 4) == "unseen speakers, 4 folds over speakers"
    for protocol in PROTOCOLS:
        assert ("leaky" in describe(protocol)) == (protocol in ("random", "clip"))


def test_audio_is_never_decoded(ravdess):
    from datasets import Audio

    dataset = ravdess.add_column("audio", ["no such file.wav"] * len(ravdess)).cast_column("audio", Audio())
    for protocol in PROTOCOLS:
        assert make_folds(dataset, protocol)


def test_an_unknown_protocol_is_refused_with_those_that_are_known(ravdess):
    with pytest.raises(DatasetError, match="known are: emobox, speaker, random"):
        make_folds(ravdess, "loso")


def test_emobox_of_another_corpus_says_to_use_speaker(ravdess):
    other = make_dataset(list(ravdess["speaker"]), list(ravdess["label"]), corpus="emodb")
    with pytest.raises(DatasetError, match="RAVDESS only, this is emodb: use 'speaker'"):
        make_folds(other, "emobox")
    with pytest.raises(DatasetError, match="use 'speaker'"):
        make_folds(ravdess.remove_columns("corpus"), "emobox")


@pytest.mark.parametrize("protocol", ["emobox", "speaker", "random"])
def test_a_protocol_that_fits_is_kept(ravdess, protocol):
    assert choose_protocol(ravdess, protocol) == (protocol, PROTOCOLS[protocol], "")


def test_emobox_of_another_corpus_falls_back_to_speaker_folds_and_says_so():
    dataset = make_dataset(list("abcdefgh") * 2, [0, 1] * 8, corpus="emodb")
    protocol, num_folds, note = choose_protocol(dataset, "emobox")
    assert (protocol, num_folds) == ("speaker", 5)
    assert "'emobox' cannot be used here" in note and "emodb" in note and "unseen speakers, 5 folds" in note
    assert choose_protocol(dataset, "emobox", 8)[:2] == ("speaker", 8)


@pytest.mark.parametrize(("speakers", "folds"), [("ab", 2), ("abcd", 4), ("abcdefg", 5)])
def test_there_are_no_more_folds_than_speakers(speakers, folds):
    dataset = make_dataset([name for name in speakers for _ in range(2)], [0, 1] * len(speakers), corpus="mine")
    assert choose_protocol(dataset, "speaker")[:2] == ("speaker", folds)
    assert_partition(dataset, make_folds(dataset, "speaker", num_folds=folds))


@pytest.mark.parametrize("speakers", [None, ["a", None] * 10])
@pytest.mark.parametrize("protocol", ["emobox", "speaker", "random"])
def test_without_speakers_clips_are_divided_and_every_figure_says_so(speakers, protocol):
    dataset = make_dataset(speakers or ["a"] * 20, [0, 1] * 10, corpus="mine")
    dataset = dataset if speakers else dataset.remove_columns("speaker")
    chosen, folds, note = choose_protocol(dataset, protocol)
    words = "speakers unknown: clips of one voice may be on both sides"
    assert chosen == "clip" and words in describe(chosen, folds) and words in note
    made = make_folds(dataset, chosen, num_folds=folds, validation_speakers=4)
    assert_partition(dataset, made)
    assert all(len(fold.validation) == 4 for fold in made)  # a fifth of the 16 training clips


def test_clips_of_a_single_speaker_are_divided_as_leaky():
    dataset = make_dataset(["a"] * 20, [0, 1] * 10, corpus="mine")
    protocol, folds, note = choose_protocol(dataset, "speaker")
    assert (protocol, folds) == ("random", 5) and "one speaker" in note and "leaky" in note


def test_emobox_has_no_other_number_of_folds(ravdess):
    with pytest.raises(DatasetError, match="6 fixed folds, not 5"):
        make_folds(ravdess, "emobox", num_folds=5)


def test_emobox_without_the_actors_of_a_fold_names_them(ravdess):
    some = ravdess.filter(lambda speaker: int(speaker) not in EMOBOX_TEST_ACTORS[3], input_columns="speaker")
    with pytest.raises(DatasetError, match=r"Fold 3 .* actors 08, 09, 19, 23 are all missing"):
        make_folds(some, "emobox")


@pytest.mark.parametrize("num_folds", [0, 1])
def test_fewer_than_two_folds_are_refused(ravdess, num_folds):
    with pytest.raises(DatasetError, match="At least 2 folds"):
        make_folds(ravdess, "random", num_folds=num_folds)


def test_fewer_speakers_than_folds_are_refused(ravdess):
    with pytest.raises(DatasetError, match="at least 25 speakers, there are 24"):
        make_folds(ravdess, "speaker", num_folds=25)


def test_no_fold_is_empty_where_the_clips_of_speakers_are_too_few_to_stratify():
    dataset = make_dataset(list("abcdef"), [0, 0, 1, 1, 2, 2])
    folds = make_folds(dataset, "speaker", num_folds=3, validation_speakers=0, seed=1)
    assert_partition(dataset, folds)
    assert all(fold.test for fold in folds)


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_no_fold_is_empty_where_stratifying_alone_would_leave_one_so():
    clips = {"a": [0], "b": [3], "c": [1, 1, 3], "d": [0, 0, 0, 2], "e": [0, 0, 1, 1, 1, 2]}
    speakers = [speaker for speaker, labels in clips.items() for _ in labels]
    dataset = make_dataset(speakers, [label for labels in clips.values() for label in labels])
    folds = make_folds(dataset, "speaker", num_folds=5, validation_speakers=1)
    assert_partition(dataset, folds)
    assert all(fold.test for fold in folds)


def test_too_few_speakers_to_hold_one_out_are_refused():
    dataset = make_dataset(["a", "a", "b", "b"], [0, 1, 0, 1])
    with pytest.raises(DatasetError, match="1 training speaker, so 1 can't be held out"):
        make_folds(dataset, "speaker", num_folds=2, validation_speakers=1)
    assert_partition(dataset, make_folds(dataset, "speaker", num_folds=2, validation_speakers=0))


def test_of_a_single_training_speaker_clips_are_held_out_and_the_test_speaker_stays_unheard():
    dataset = make_dataset(["a", "b"] * 10, [0, 0, 1, 1] * 5, corpus="tess")
    for fold in make_folds(dataset, "speaker", num_folds=2):
        assert len(fold.validation) == 2 and len(fold.train) == 8
        assert speakers_of(dataset, fold.test).isdisjoint(speakers_of(dataset, fold.train + fold.validation))
        assert_no_leak(dataset, fold)


@pytest.mark.parametrize("column", ["speaker", "label"])
def test_a_missing_column_is_named(ravdess, column):
    with pytest.raises(DatasetError, match=f"needs a column '{column}'; the columns are"):
        make_folds(ravdess.remove_columns(column), "speaker")


def test_clips_without_a_speaker_are_counted(ravdess):
    speakers = list(ravdess["speaker"])
    speakers[:3] = [None, "", None]
    with pytest.raises(DatasetError, match="3 of 192 clips have no speaker"):
        make_folds(make_dataset(speakers, list(ravdess["label"])), "speaker")


def test_an_empty_data_set_is_refused():
    with pytest.raises(DatasetError, match="no clips"):
        make_folds(make_dataset([], []), "random")


@pytest.mark.parametrize("protocol", ["emobox", "speaker"])
def test_a_class_without_training_clips_is_named(ravdess, protocol):
    labels = [3 if speaker == "10" else 0 for speaker in ravdess["speaker"]]
    dataset = make_dataset(list(ravdess["speaker"]), labels)
    with pytest.raises(DatasetError, match=r"Fold \d has no training clips of angry: "):
        make_folds(dataset, protocol)


def test_validation_leaves_every_class_in_training(ravdess):
    labels = [3 if speaker in ("10", "11") else 0 for speaker in ravdess["speaker"]]  # tested in folds 2 and 1
    dataset = make_dataset(list(ravdess["speaker"]), labels)
    for seed in range(10):
        for fold in make_folds(dataset, "emobox", validation_speakers=10, seed=seed):
            assert set(dataset.select(fold.train)["label"]) == {0, 3}


def test_a_fold_is_found_by_its_number(ravdess):
    folds = make_folds(ravdess, "emobox")
    assert get_fold(folds, 4) is folds[3]
    with pytest.raises(DatasetError, match="no fold 7; the folds are 1, 2, 3, 4, 5, 6"):
        get_fold(folds, 7)


@settings(deadline=None, max_examples=20)
@given(times=st.integers(2, 20), number=st.integers(1, 6))
def test_every_training_speaker_is_held_out_once_and_no_test_speaker_ever(ravdess, times, number):
    fold = get_fold(make_folds(ravdess, "emobox"), number)
    turns = rotate_validation(ravdess, fold, times)
    assert len(turns) == times
    assert sorted(row for turn in turns for row in turn.validation) == sorted([*fold.train, *fold.validation])
    for turn in turns:
        assert turn.test == fold.test and sorted([*turn.train, *turn.validation]) == sorted(
            [*fold.train, *fold.validation]
        )
        assert_no_leak(ravdess, turn)


def test_there_are_no_more_turns_than_training_speakers(ravdess):
    fold = get_fold(make_folds(ravdess, "emobox"), 1)
    with pytest.raises(DatasetError, match="20"):
        rotate_validation(ravdess, fold, 21)


def test_a_leak_of_rows_or_speakers_is_found():
    dataset = make_dataset(["a", "a", "b", "c"], [0, 1, 0, 1])
    assert_no_leak(dataset, Fold(1, train=[0, 1], validation=[2], test=[3]))
    with pytest.raises(DatasetError, match="Speaker a is in training and in test of fold 1"):
        assert_no_leak(dataset, Fold(1, train=[0], validation=[2], test=[1, 3]))
    with pytest.raises(DatasetError, match="Row 2 is there twice"):
        assert_no_leak(dataset, Fold(1, train=[0, 1, 2], validation=[2], test=[3]))
    with pytest.raises(DatasetError, match="does not have"):
        assert_no_leak(dataset, Fold(1, train=[0, 1], validation=[2], test=[4]))


def test_random_folds_leak_and_are_found_out(ravdess):
    with pytest.raises(DatasetError, match="leaks"):
        assert_no_leak(ravdess, make_folds(ravdess, "random")[0])


@st.composite
def layouts(draw, speakers):
    """Clips of speakers who say some classes more often than others, in any order."""
    clips = []
    for speaker in speakers:
        clips += [(speaker, label) for label in draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))]
    return draw(st.permutations(clips))


def folds_or_skip(dataset, protocol, **options):
    try:
        return make_folds(dataset, protocol, **options)
    except DatasetError as error:  # a class that too few speakers say can't be trained in every fold
        assume(not any(reason in str(error) for reason in ("has no training clips of", "too few others")))
        raise


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(0, 1000))
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_speaker_folds_never_mix_speakers_whatever_the_corpus(data, seed):
    speakers = [f"speaker {number}" for number in range(data.draw(st.integers(5, 12), "speakers"))]
    clips = data.draw(layouts(speakers), "clips")
    num_folds = data.draw(st.integers(3, 5), "folds")
    dataset = make_dataset(*zip(*clips, strict=True), corpus="any")
    folds = folds_or_skip(dataset, "speaker", num_folds=num_folds, seed=seed)
    assert len(folds) == num_folds
    assert_partition(dataset, folds)
    for fold in folds:
        assert_speakers_apart(dataset, fold)
        assert_no_leak(dataset, fold)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(0, 1000))
def test_emobox_folds_never_mix_speakers_whatever_is_missing(data, seed):
    missing = data.draw(st.sets(st.sampled_from(ACTORS), max_size=3), "missing")
    clips = data.draw(layouts([actor for actor in ACTORS if actor not in missing]), "clips")
    dataset = make_dataset(*zip(*clips, strict=True))
    folds = folds_or_skip(dataset, "emobox", seed=seed)
    assert_partition(dataset, folds)
    for fold in folds:
        assert_speakers_apart(dataset, fold)
        assert speakers_of(dataset, fold.test) <= {f"{actor:02d}" for actor in EMOBOX_TEST_ACTORS[fold.number]}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=10, max_size=60), st.integers(0, 1000))
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_random_folds_divide_all_clips_and_depend_on_the_seed_alone(labels, seed):
    dataset = make_dataset(["one"] * len(labels), labels)
    assume(min(Counter(labels).values()) >= 2 and max(Counter(labels).values()) >= 5)
    folds = make_folds(dataset, "random", seed=seed)
    assert_partition(dataset, folds)
    assert folds == make_folds(dataset, "random", seed=seed)
    for fold in folds:
        assert set(dataset.select(fold.train)["label"]) == set(labels)
