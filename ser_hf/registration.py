"""Our model types are known to transformers' Auto classes as soon as both packages are imported, in either order.

Registering needs the model classes, hence torch, which takes seconds; `python -m ser_hf --help` needs neither. So it
is done at the first `from_pretrained` of an Auto class. (Not at their import: transformers imports them in the middle
of others of its modules, where importing our models would go in a circle.)
"""

import functools
import importlib.abc
import importlib.util
import sys

# Module → the Auto class in it that looks our types up first; AutoModelFor… asks AutoConfig.
AUTO_CLASSES = {
    "transformers.models.auto.configuration_auto": "AutoConfig",
    "transformers.models.auto.feature_extraction_auto": "AutoFeatureExtractor",
}


def register_with_transformers() -> None:
    """To be called once, when this package is imported."""
    for module, name in AUTO_CLASSES.items():
        if module in sys.modules and hasattr(sys.modules[module], name):
            _register_at_first_use(getattr(sys.modules[module], name))
        else:
            sys.meta_path.insert(0, _AfterImport(module, name))


def _register_at_first_use(auto_class: type) -> None:
    """Puts a `from_pretrained` before the class's own that imports our models, takes itself away and goes on."""
    original = vars(auto_class)["from_pretrained"].__func__

    @functools.wraps(original)
    def from_pretrained(cls, *args, **kwargs):
        auto_class.from_pretrained = classmethod(original)
        from . import modeling  # noqa: F401

        return original(cls, *args, **kwargs)

    auto_class.from_pretrained = classmethod(from_pretrained)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Lets one module be found as ever, and prepares its Auto class right after its import."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        execute = spec.loader.exec_module

        def execute_and_prepare(module):
            execute(module)
            _register_at_first_use(getattr(module, self.name))

        spec.loader.exec_module = execute_and_prepare
        return spec
