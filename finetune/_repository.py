"""Imported first by every script here: the repository stands on the path in place of this folder.

Python puts a script's own folder first, and `evaluate.py` in it would hide the library `evaluate`.
"""

import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _FOLDER]
sys.path.insert(0, str(_FOLDER.parent))
