"""Without trust_remote_code: `import ser_hf` is enough, before transformers or after it."""

import subprocess
import sys
import time

import pytest

from ser_hf.classifier import EMBEDDED

THEIRS = "from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification"
QUICK_SECONDS = 2.0  # torch alone takes longer


@pytest.mark.parametrize("first", ["ser_hf", "transformers"])
def test_the_auto_classes_know_our_models_as_soon_as_ser_hf_is_imported(first, tmp_path):
    # transformers.integrations has the Auto classes imported half-way through its own import.
    before = "import ser_hf; from transformers.integrations import is_kubeflow_available; "
    imports = f"{before}{THEIRS}" if first == "ser_hf" else f"{THEIRS}; import ser_hf"
    folder = str(EMBEDDED.parent / "log_mel_cnn_ravdess")
    program = f"""{imports}
for auto in (AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification):
    found = auto.from_pretrained({folder!r})
    print(type(found).__module__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split()
    assert len(modules) == 3 and all(module.startswith("ser_hf.modeling.") for module in modules)


def test_importing_ser_hf_alone_waits_for_no_torch(tmp_path):
    program = "import sys, ser_hf; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip() == "[]", done.stderr
    assert time.monotonic() - started < QUICK_SECONDS
