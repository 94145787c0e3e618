"""The models that a visitor can choose from, each loaded once."""

from pathlib import Path
from threading import Lock

from ser_hf.classifier import EMBEDDED, EmotionClassifier
from ser_hf.errors import ModelError

MAX_LOADED = 4  # models that visitors asked for are kept in memory up to this number; the oldest makes room


class Checkpoints:
    """The demo's own model first, then those that may stand beside it.

    Args:
        main: what every page uses.
        others: folders or Hub names offered beside it; the embedded checkpoints are offered anyway.
        any_name: visitors may name a folder of this machine or a Hub repository: only for those who own the machine.
    """

    def __init__(self, main: EmotionClassifier, others: list[str] | None = None, any_name: bool = False):
        self.main = main
        self.any_name = any_name
        embedded = [str(folder) for folder in sorted(EMBEDDED.parent.iterdir()) if (folder / "config.json").is_file()]
        self._sources = {short_name(source): source for source in [*(others or []), *embedded] if source != main.name}
        self._loaded: dict[str, EmotionClassifier] = {}
        self._lock = Lock()

    @property
    def names(self) -> list[str]:
        """What can be chosen beside the main model; no path of this machine is in them."""
        return list(self._sources)

    def get(self, name: str) -> EmotionClassifier:
        """The model of one of the `names`; any folder or Hub name where that is allowed.

        Raises:
            ModelError: it cannot be loaded, or is not offered.
        """
        if name not in self._sources and not self.any_name:
            raise ModelError(f"The model '{name}' is not offered here; choose one of {', '.join(self.names)}.")
        return self.load(self._sources.get(name, name))

    def load(self, source: str) -> EmotionClassifier:
        """Loads a folder or a Hub name, or takes it from what is loaded.

        Raises:
            ModelError: it cannot be loaded.
        """
        with self._lock:
            if source not in self._loaded:
                classifier = EmotionClassifier.from_pretrained(source)
                while len(self._loaded) >= MAX_LOADED:
                    self._loaded.pop(next(iter(self._loaded)))
                self._loaded[source] = classifier
            return self._loaded[source]


def short_name(model: str) -> str:
    """The name of a folder, or a Hub name as it is."""
    return Path(model).name if Path(model).is_dir() else model
