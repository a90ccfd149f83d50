"""Every exception that Headwater raises on purpose.

::

    HeadwaterError
    ├── UsageError              a command or call that cannot be carried out as asked   (exit 2)
    │   ├── ScriptNotFoundError
    │   ├── BadStepsError
    │   ├── UnknownActivationError
    │   ├── DivergentIntegralError
    │   ├── NotCoveredError
    │   ├── UnknownExperimentError
    │   ├── UnknownTopicError
    │   ├── EnsembleError
    │   └── MissingExtraError
    ├── RecordError             a run folder that cannot be read or written             (exit 2)
    │   ├── RunNotFoundError
    │   ├── UnreadableRunError
    │   ├── NewerSchemaError
    │   ├── NotRecordedError
    │   ├── RunExistsError
    │   └── ResultsNotKeptError
    └── TrainingStoppedError    a training ended where its user asked for that

Each message says what was got, what was wanted, and what to do next. A fault of ours is never one
of these: it is whatever Python raised, and the command line turns it into exit code 70.
"""

from __future__ import annotations

from difflib import get_close_matches


class HeadwaterError(Exception):
    """The root of the tree; catching it catches all that Headwater raises on purpose."""


class UsageError(HeadwaterError):
    """A command or call that cannot be carried out as asked."""


class ScriptNotFoundError(UsageError):
    """A script or module that is not there.

    Example:
        >>> print(ScriptNotFoundError("trian.py", near="train.py"))
        no script 'trian.py'; did you mean 'train.py'?
    """

    def __init__(self, script: str, *, near: str = "", what: str = "script") -> None:
        hint = f"did you mean {near!r}?" if near else "give the path of a Python file, or -m MODULE"
        super().__init__(f"no {what} {script!r}; {hint}")


class BadStepsError(UsageError):
    """A ``--steps`` or ``--every`` or ``--overhead`` value that does not parse.

    Example:
        >>> print(BadStepsError("--steps", "5:2", "A:B with 0 <= A < B, as in 0:100"))
        --steps got '5:2'; it takes A:B with 0 <= A < B, as in 0:100
    """

    def __init__(self, option: str, got: str, wanted: str) -> None:
        super().__init__(f"{option} got {got!r}; it takes {wanted}")


class UnknownActivationError(UsageError):
    """An activation that the catalogue does not hold.

    Example:
        >>> print(UnknownActivationError("gleu", ("gelu", "glu", "tanh")))
        no activation 'gleu'; nearest: 'gelu', 'glu'; one of your own: theory.from_function(f)
    """

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        nearest = ", ".join(map(repr, sorted(get_close_matches(name, known, n=3))))
        hint = f"nearest: {nearest}" if nearest else f"there are {', '.join(known)}"
        super().__init__(
            f"no activation {name!r}; {hint}; one of your own: theory.from_function(f)"
        )


class DivergentIntegralError(UsageError):
    """A Gaussian mean that does not exist, or not as a float64.

    Example:
        >>> print(DivergentIntegralError(4.0))
        the mean over N(0, 4) diverges or leaves float64; take a smaller variance
    """

    def __init__(self, variance: float) -> None:
        super().__init__(
            f"the mean over N(0, {variance:g}) diverges or leaves float64; take a smaller variance"
        )


class NotCoveredError(UsageError):
    """A question that the theory has no answer to.

    Example:
        >>> print(NotCoveredError("MaxPool", "its windows overlap", "measure it"))
        theory does not cover MaxPool: its windows overlap; measure it
    """

    def __init__(self, what: str, why: str, instead: str) -> None:
        super().__init__(f"theory does not cover {what}: {why}; {instead}")


class UnknownExperimentError(UsageError):
    """An experiment that the laboratory does not have.

    Example:
        >>> print(UnknownExperimentError("dying-rely", ("dying-relu", "softmax")))
        no experiment 'dying-rely'; nearest: 'dying-relu'; `headwater lab list` shows all
    """

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        nearest = ", ".join(map(repr, sorted(get_close_matches(name, known, n=3))))
        hint = f"nearest: {nearest}" if nearest else f"there are {len(known)}"
        super().__init__(f"no experiment {name!r}; {hint}; `headwater lab list` shows all")


class UnknownTopicError(UsageError):
    """A code or cause that no rule has.

    Example:
        >>> print(UnknownTopicError("HW140", ("HW104", "saturation")))
        no code or cause 'HW140'; nearest: 'HW104'; `headwater explain` lists all
    """

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        near = {
            one
            for written in (name.upper(), name.lower())
            for one in get_close_matches(written, known, n=3)
        } | {one for one in known if name and name.lower() in one}
        nearest = ", ".join(map(repr, sorted(near)))
        hint = f"nearest: {nearest}" if nearest else f"there are {len(known)}"
        super().__init__(f"no code or cause {name!r}; {hint}; `headwater explain` lists all")


class EnsembleError(UsageError):
    """A setting with which no ensemble of networks can be trained.

    Example:
        >>> print(EnsembleError("batch_size", 0, "at least 1, or None for the full batch"))
        batch_size got 0; it takes at least 1, or None for the full batch
    """

    def __init__(self, what: str, got: object, wanted: str) -> None:
        super().__init__(f"{what} got {got!r}; it takes {wanted}")


class MissingExtraError(UsageError):
    """An optional library that is asked for and not installed.

    Example:
        >>> print(MissingExtraError("numba", "lab", "backend='kernel'"))
        backend='kernel' needs numba; pip install 'headwater[lab]'
    """

    def __init__(self, library: str, extra: str, what: str) -> None:
        super().__init__(f"{what} needs {library}; pip install 'headwater[{extra}]'")


class RecordError(HeadwaterError):
    """A run folder that cannot be read or written."""


class RunNotFoundError(RecordError):
    """No run where one was looked for.

    Example:
        >>> print(RunNotFoundError("headwater-runs"))
        no run in 'headwater-runs'; `headwater run SCRIPT` makes one
    """

    def __init__(self, place: str) -> None:
        super().__init__(f"no run in {place!r}; `headwater run SCRIPT` makes one")


class UnreadableRunError(RecordError):
    """A folder that is a run, but whose files cannot be understood.

    Example:
        >>> print(UnreadableRunError("runs/x", "run.json is not JSON"))
        cannot read run 'runs/x': run.json is not JSON
    """

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"cannot read run {place!r}: {why}")


class NewerSchemaError(RecordError):
    """A record written by a newer Headwater than this one.

    Example:
        >>> print(NewerSchemaError("runs/x", found=7, known=1))
        run 'runs/x' has schema 7, this headwater reads up to 1; update it: pip install -U headwater
    """

    def __init__(self, place: str, *, found: int, known: int) -> None:
        super().__init__(
            f"run {place!r} has schema {found}, this headwater reads up to {known}; "
            "update it: pip install -U headwater"
        )


class NotRecordedError(RecordError):
    """Something asked of a run that its record does not hold.

    Example:
        >>> print(NotRecordedError("ledger of step 7", "it has those of steps 0, 1, 2"))
        the record holds no ledger of step 7; it has those of steps 0, 1, 2
    """

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"the record holds no {what}; {instead}")


class RunExistsError(RecordError):
    """A folder to be written that already holds a run.

    Example:
        >>> print(RunExistsError("runs/x"))
        'runs/x' already holds a run; name another folder, or remove that one
    """

    def __init__(self, place: str) -> None:
        super().__init__(f"{place!r} already holds a run; name another folder, or remove that one")


class ResultsNotKeptError(RecordError):
    """An experiment that stopped in the middle: a full disk, a worker that died.

    Example:
        >>> print(ResultsNotKeptError("softmax", "No space left on device", kept=2, blocks=5))
        softmax stopped: No space left on device; 2 of 5 blocks are kept, and the same command
        goes on from there
    """

    def __init__(self, name: str, why: str, *, kept: int, blocks: int) -> None:
        super().__init__(
            f"{name} stopped: {why}; {kept} of {blocks} blocks are kept, and the same command\n"
            "goes on from there"
        )


class TrainingStoppedError(HeadwaterError):
    """A training that ``watch(stop_on=...)`` ended, raised out of its own backward pass.

    Example:
        >>> print(TrainingStoppedError("step 7: the loss is not finite", "runs/x"))
        training ended at step 7: the loss is not finite; `headwater show runs/x` has the record
    """

    def __init__(self, why: str, place: str) -> None:
        super().__init__(f"training ended at {why}; `headwater show {place}` has the record")
