"""Prints the coverage report and fails where a part of the house is below its floor.

Floors are branch coverage in percent: runtime and supervisors 95, the fallback 100, everything else 90.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FLOORS = {"runtime/": 95.0, "supervisors/": 95.0, "actors/": 90.0, "understudy/": 90.0}
WHOLE = ("supervisors/_fallback.py", "supervisors/_ledger.py", "supervisors/_switch.py")


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "coverage.json")
        coverage = [sys.executable, "-m", "coverage"]
        subprocess.run([*coverage, "report", "--skip-covered"], check=True)
        subprocess.run([*coverage, "json", "-q", "-o", str(report)], check=True)
        files = json.loads(report.read_text())["files"]
    failed = False
    groups = [(part, floor, [name for name in files if name.startswith(part)]) for part, floor in FLOORS.items()]
    groups += [(name, 100.0, [name]) for name in WHOLE]
    for part, floor, names in groups:
        found = [files[name]["summary"] for name in names if name in files]
        total = sum(summary["num_statements"] + summary["num_branches"] for summary in found)
        covered = sum(summary["covered_lines"] + summary["covered_branches"] for summary in found)
        percent = 100.0 * covered / total if total else 0.0
        short = percent < floor
        failed = failed or short
        print(f"{part:32} {percent:6.2f} %  (floor {floor:g} %){'  BELOW ITS FLOOR' if short else ''}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
