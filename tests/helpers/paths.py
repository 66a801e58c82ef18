"""Where things are, for tests in any folder."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SHARED = ROOT.parent / "shared"
