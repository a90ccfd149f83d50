"""A script's observation from the first import of torch to the words after the script's end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.faults import FAULT, FINDINGS, fault_line, say
from headwater.errors import HeadwaterError
from headwater.watch.folder import run_folder
from headwater.watch.launcher import Target
from headwater.watch.options import Options
from headwater.watch.rewind import Beginning, look_again, step_to_look_at

if TYPE_CHECKING:
    from headwater.records import Finding, Verdict
    from headwater.runs.reader import Run
    from headwater.watch.observation import Observation

LEVELS = {"info": 0, "warning": 1, "error": 2}


@dataclass(kw_only=True)
class Observed:
    """One script under observation; ``begin`` and ``end`` never raise."""

    target: Target
    options: Options
    out: Path | None
    start: Path
    environ: Mapping[str, str]
    now: datetime
    fail_on: str | None = None
    json: bool = False
    quiet: bool = False
    rewind: bool = False
    folder: Path | None = None
    observation: Observation | None = None
    refused: bool = field(default=False, init=False)
    outcome: int = field(default=0, init=False)
    beginning: Beginning | None = field(default=None, init=False)
    stopped: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Start observing; called when the script has imported torch."""
        try:
            self._begin()
        except OSError as error:
            why = f"{error.strerror or error}: {error.filename}"
            self._refuse(f"cannot write the run's folder ({why})")
        except HeadwaterError as error:
            self._refuse(str(error))
        except Exception as error:
            self._refuse(fault_line(error))
            self.outcome = FAULT

    def end(self, code: int, exception: str | None) -> int:
        """Close the record, judge it, say what was found; return the exit code."""
        try:
            outcome = self._end(code, exception)
        except KeyboardInterrupt:
            say("interrupted while judging; the record is whole up to there")
            outcome = 0
        except Exception as error:
            if os.environ.get("HEADWATER_DEBUG"):
                sys.__excepthook__(type(error), error, error.__traceback__)
            say(fault_line(error))
            outcome = FAULT
        return code or outcome

    def _begin(self) -> None:
        folder = self.out or run_folder(self.start, self.target.stem, self.environ, self.now)
        from headwater.watch.observation import Observation

        script = getattr(sys.modules["__main__"], "__file__", None)
        observation = Observation(
            folder,
            options=self.options,
            command=self.target.words,
            script=script,
            ending=self._stop,
        )
        if self.rewind:
            self.beginning = Beginning.now()
        observation.start()
        self.folder, self.observation = folder, observation

    def _stop(self, why: str) -> SystemExit:
        """Say why the script ends here, and return what ends it."""
        if not self.stopped:
            say(f"the training ends at {why} (--stop-on {self.options.stop_on})")
        self.stopped = True
        return SystemExit(FINDINGS)

    def _refuse(self, why: str) -> None:
        self.refused = True
        # Asked for a verdict, a build must not pass for want of one.
        self.outcome = FAULT if self.fail_on else 0
        say(f"{why}; the script runs unobserved")

    def _end(self, code: int, exception: str | None) -> int:
        if self.observation is not None:
            self.observation.finish(code, exception)
        if self.observation is None or self.folder is None or not self.observation.backwards:
            # A script that failed on its way there has said so itself.
            if code == 0 and not self.refused:
                self._tell(self._nothing())
            self._print(None)
            return self.outcome
        from headwater.rules import judge
        from headwater.runs.reader import Run
        from headwater.runs.writer import write_findings

        run = self._rewound(Run.open(self.folder))
        verdicts = judge(run)
        findings = sorted(
            (finding for verdict in verdicts for finding in verdict.findings),
            key=lambda finding: (-LEVELS[finding.severity], finding.code),
        )
        write_findings(self.folder, [finding.to_json() for finding in findings])
        for line in self._account(run, verdicts, findings):
            self._tell(line)
        self._print(findings)
        return self._judged(findings)

    def _rewound(self, run: Run) -> Run:
        """Return the record with what a second run showed, where one was asked for and needed."""
        step = step_to_look_at(run) if self.beginning is not None else None
        if step is None or self.beginning is None or self.folder is None:
            return run
        if int(self.environ.get("WORLD_SIZE", "1")) > 1:
            self._tell("--rewind does not run jobs of several processes again")
            return run
        self._tell(f"what broke at step {step} is not known; running the script again up to there")
        from headwater.runs.writer import add_fault

        fault = look_again(
            run,
            step,
            target=self.target,
            beginning=self.beginning,
            start=self.start,
            environ=self.environ,
        )
        self._tell(f"second run: {fault.note}")
        add_fault(self.folder, run.info, fault)
        return type(run).open(self.folder)

    def _nothing(self) -> str:
        what = "never imported torch" if self.observation is None else "never called backward"
        return (
            f"{self.target.name} {what}; nothing to observe; give the script that trains, "
            "in the process that trains"
        )

    def _account(
        self, run: Run, verdicts: Sequence[Verdict], findings: Sequence[Finding]
    ) -> list[str]:
        assert self.folder is not None
        place = os.path.relpath(self.folder, self.start)
        stopped = " before it stopped" if run.info.observation["status"] == "stopped" else ""
        lines = [f"{_what_was_observed(run.info.overhead)}{stopped}; record in {place}"]
        lines += [
            f"{item.severity} {item.code} {item.symptom}: {_first_sentence(item.message)}"
            for item in findings
        ]
        if not findings:
            answers = [verdict.answer for verdict in verdicts]
            healthy, unsaid = answers.count("healthy"), answers.count("cannot say")
            lines.append(f"nothing wrong found ({healthy} rules say healthy, {unsaid} cannot say)")
        lines.append(f"next: headwater show{'' if self.out is None else f' {place}'}")
        return lines

    def _tell(self, line: str) -> None:
        if not self.quiet:
            say(line)

    def _print(self, findings: Sequence[Finding] | None) -> None:
        """Write the findings where the script wrote its own output, after all of it."""
        if not self.json or sys.__stdout__ is None:
            return
        import json

        from headwater.runs.info import plain

        with suppress(Exception):
            sys.stdout.flush()
        data = None if findings is None else [plain(item.to_json()) for item in findings]
        print(json.dumps(data, indent=2), file=sys.__stdout__, flush=True)

    def _judged(self, findings: Sequence[Finding]) -> int:
        if self.stopped:  # also where the script caught what ended it, or ran it in a thread
            return FINDINGS
        if self.fail_on is None:
            return 0
        reached = any(LEVELS[finding.severity] >= LEVELS[self.fail_on] for finding in findings)
        return FINDINGS if reached else 0


def _first_sentence(message: str) -> str:
    """Return what fits a line; `headwater show` has the rest.

    Example:
        >>> _first_sentence("The loss is 1.39, as net.py has it. Treat the cause.")
        'The loss is 1.39, as net.py has it.'
    """
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", " ".join(message.split()), maxsplit=1)[0]


def _what_was_observed(overhead: Mapping[str, Any]) -> str:
    """Say how much was seen and what it cost.

    Example:
        >>> _what_was_observed({"observer_s": 0.1, "elapsed_s": 10.1, "steps": 1, "samples": 1})
        'observed 1 step, 1 sample; overhead 1.0 %'
    """
    steps, samples = overhead["steps"], overhead["samples"]
    alone = overhead["elapsed_s"] - overhead["observer_s"]
    cost = f"overhead {100 * overhead['observer_s'] / alone:.1f} %" if alone > 0 else "overhead ?"
    return f"observed {_count(steps, 'step')}, {_count(samples, 'sample')}; {cost}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
